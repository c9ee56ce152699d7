#include <map>
#include <string>

#include <cbrgateway/v1/checkpoint.pb.h>
#include <cbrgateway/v1/task.pb.h>
#include <cbrgateway/v1/vault.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include "stage.h"

namespace cbrgateway {
namespace {

using google::protobuf::util::JsonStringToMessage;

using Facts = std::map<std::string, std::string>;

std::string Seconds(bool set, const google::protobuf::Timestamp& time) { return set ? std::to_string(time.seconds()) : "unset"; }

Facts In(const v1::Task& task) {
  const auto& common = task.details().common();
  return {
      {"type", std::to_string(task.type())},
      {"type_raw", task.type_raw()},
      {"status", std::to_string(task.status())},
      {"progress_percent", common.has_progress_percent() ? std::to_string(common.progress_percent()) : "unset"},
      {"start_seconds", Seconds(task.has_start_time(), task.start_time())},
      {"start_nanos", std::to_string(task.start_time().nanos())},
      {"end_time", Seconds(task.has_end_time(), task.end_time())},
  };
}

Facts In(const v1::CheckpointResource& resource) { return {{"backup_size_mib", std::to_string(resource.backup_size_mib())}}; }

Facts In(const v1::ListVaultsResponse& list) {
  const auto& last = *list.vaults().rbegin();
  return {{"count", std::to_string(list.vaults_size())}, {"last_id", last.id()}, {"last_used_mib", std::to_string(last.billing().used_mib())}};
}

/// Reads a message and writes it back; answers the facts found in it.
template <class Message>
Facts Read(const std::string& content) {
  Message message;
  EXPECT_TRUE(message.ParseFromString(content));
  EXPECT_EQ(message.SerializeAsString(), content);
  return In(message);
}

Facts Read(const std::string& kind, const std::string& content) {
  if (kind == "Task") {
    return Read<v1::Task>(content);
  }
  return kind == "CheckpointResource" ? Read<v1::CheckpointResource>(content) : Read<v1::ListVaultsResponse>(content);
}

TEST(Vectors, AreReadAndWrittenBack) {
  google::protobuf::ListValue vectors;
  ASSERT_TRUE(JsonStringToMessage(ReadFile(Given("VECTORS")), &vectors).ok());
  ASSERT_GT(vectors.values_size(), 0);
  for (const auto& each : vectors.values()) {
    const auto& vector = each.struct_value().fields();
    SCOPED_TRACE(vector.at("name").string_value());
    google::protobuf::BytesValue content;  // JSON has it in base64.
    ASSERT_TRUE(JsonStringToMessage('"' + vector.at("base64").string_value() + '"', &content).ok());
    const auto found = Read(vector.at("message").string_value(), content.value());
    for (const auto& [name, want] : vector.at("facts").struct_value().fields()) {
      EXPECT_EQ(found.at(name), want.string_value()) << name;
    }
  }
  Passed("vectors");
}

}  // namespace
}  // namespace cbrgateway
