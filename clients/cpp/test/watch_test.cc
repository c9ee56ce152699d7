#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <cbrgateway/client.h>
#include <cbrgateway/v1/checkpoint.grpc.pb.h>
#include <cbrgateway/v1/vault.grpc.pb.h>
#include <cbrgateway/watch.h>
#include <gtest/gtest.h>

#include "stage.h"

namespace cbrgateway {
namespace {

using v1::CheckpointService;
using v1::VaultService;

/// An event in words: its kind, and the revision of its task.
std::string Told(const v1::WatchTasksResponse& event) {
  if (event.has_snapshot_task()) {
    return "snapshot_task " + std::to_string(event.snapshot_task().revision());
  }
  if (event.has_update()) {
    return "update " + std::to_string(event.update().task().revision());
  }
  if (event.has_terminal()) {
    return "terminal " + std::to_string(event.terminal().task().revision());
  }
  return event.GetReflection()->GetOneofFieldDescriptor(event, event.GetDescriptor()->FindOneofByName("event"))->name();
}

std::shared_ptr<grpc::Channel> Script() { return Connect(Given("SCRIPT_ADDRESS"), {.plaintext = true}); }

TEST(Watch, GoesOnThroughARestart) {
  const auto channel = Connected();
  const auto vaults = VaultService::NewStub(channel);
  const auto vault = ProtectedVault(channel, "cpp-watch");
  v1::CreateCheckpointRequest backup;
  backup.mutable_checkpoint()->set_vault_id(vault.id());
  const auto made = Call(*CheckpointService::NewStub(channel), &CheckpointService::Stub::CreateCheckpoint, backup);

  v1::WatchTasksRequest wanted;
  wanted.mutable_filter()->add_submission_ids(made.submission().id());
  wanted.set_end_when_all_terminal(true);
  Watch watch(channel, wanted, std::chrono::system_clock::now() + std::chrono::minutes(2));
  std::vector<v1::TaskStatus> ends;
  bool restarted = false;
  for (v1::WatchTasksResponse event; watch.Read(&event);) {
    if (!restarted) {
      Ask("/restart");
      restarted = true;
    }
    if (event.has_terminal()) {
      ends.push_back(event.terminal().task().status());
    }
  }
  EXPECT_TRUE(watch.Finish().ok()) << watch.Finish().error_message();
  EXPECT_EQ(ends, std::vector{v1::TASK_STATUS_SUCCEEDED});
  v1::DeleteVaultRequest same;
  same.set_force(true);
  same.set_vault_id(vault.id());
  Call(*vaults, &VaultService::Stub::DeleteVault, same);
  Passed("watch");
}

TEST(Watch, TellsEachStateOnce) {
  v1::WatchTasksRequest request;
  request.mutable_heartbeat_interval()->set_nanos(200'000'000);
  Watch watch(Script(), request);
  std::string seen;
  for (v1::WatchTasksResponse event; watch.Read(&event);) {
    seen += (seen.empty() ? "" : ", ") + Told(event);
  }
  EXPECT_TRUE(watch.Finish().ok()) << watch.Finish().error_message();
  EXPECT_EQ(seen, Given("SCRIPT_SEEN"));

  request.mutable_filter()->set_vault_id("refused");
  request.mutable_heartbeat_interval()->set_seconds(10'000'000'000);  // None that a gateway takes: it is the gateway that has to say so.
  Watch refused(Script(), request);
  v1::WatchTasksResponse event;
  EXPECT_FALSE(refused.Read(&event));
  const Error error(refused.Finish());
  EXPECT_EQ(error.code, grpc::PERMISSION_DENIED);
  EXPECT_EQ(error.reason, v1::ERROR_REASON_PROJECT_DENIED);
  Passed("resume");
}

TEST(Watch, IsCancelledFromAnotherThread) {
  Watch watch(Connected(), {});
  std::jthread other;
  int events = 0;
  for (v1::WatchTasksResponse event; watch.Read(&event); ++events) {
    if (event.has_snapshot_end()) {
      other = std::jthread([&] { watch.Cancel(); });
    }
  }
  EXPECT_EQ(watch.Finish().error_code(), grpc::CANCELLED) << watch.Finish().error_message();
  EXPECT_GT(events, 0);
}

TEST(Watch, EndsWithoutAToken) {
  Watch watch(Connect(Given("SCRIPT_ADDRESS"), {.token = []() -> std::string { throw std::runtime_error("no issuer"); }, .plaintext = true}), {});
  v1::WatchTasksResponse event;
  EXPECT_FALSE(watch.Read(&event));
  EXPECT_EQ(watch.Finish().error_code(), grpc::UNAUTHENTICATED) << watch.Finish().error_message();
}

TEST(Watch, EndsAtItsDeadline) {
  Watch watch(Connect(Given("CLOSED_ADDRESS"), {.plaintext = true}), {}, std::chrono::system_clock::now() + std::chrono::seconds(1));
  v1::WatchTasksResponse event;
  EXPECT_FALSE(watch.Read(&event));
  EXPECT_EQ(Error(watch.Finish()).kind, Kind::kDeadline) << watch.Finish().error_message();
}

}  // namespace
}  // namespace cbrgateway
