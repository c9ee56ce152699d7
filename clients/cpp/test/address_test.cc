#include <stdexcept>
#include <string>

#include <cbrgateway/client.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "stage.h"

namespace cbrgateway {
namespace {

TEST(Addresses, AreTakenOrRefusedAtOnce) {
  google::protobuf::ListValue cases;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(ReadFile(Given("ADDRESSES")), &cases).ok());
  ASSERT_GT(cases.values_size(), 0);
  for (const auto& each : cases.values()) {
    const auto& fields = each.struct_value().fields();
    const std::string& address = fields.at("address").string_value();
    const std::string& says = fields.at("says").string_value();
    std::string told;
    try {
      Connect(address, {.plaintext = true});
    } catch (const std::invalid_argument& refused) {
      told = refused.what();
    }
    EXPECT_EQ(told, says.empty() ? "" : "the address \"" + address + "\" " + says);
  }
  Passed("addresses");
}

}  // namespace
}  // namespace cbrgateway
