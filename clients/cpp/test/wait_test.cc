#include <chrono>
#include <string>
#include <vector>

#include <cbrgateway/v1/checkpoint.grpc.pb.h>
#include <cbrgateway/v1/vault.grpc.pb.h>
#include <cbrgateway/wait.h>
#include <gtest/gtest.h>

#include "../src/work.h"
#include "stage.h"

namespace cbrgateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::system_clock;
using v1::CheckpointService;
using v1::VaultService;

Deadline In(std::chrono::milliseconds time) { return system_clock::now() + time; }

v1::Submission Scripted(const std::string& id) {
  v1::Submission submission;
  submission.set_id(id);
  submission.set_state(v1::SUBMISSION_STATE_CORRELATING);
  return submission;
}

std::vector<std::string> Ids(const Ended& ended) {
  std::vector<std::string> ids;
  for (const auto& task : ended.tasks) {
    ids.push_back(task.id());
  }
  return ids;
}

/// How a wait fails, or Work.
template <class Ending>
TaskFailed Failed(Ending ending) {
  try {
    ending();
  } catch (const TaskFailed& failed) {
    return failed;
  }
  ADD_FAILURE() << "it has not failed";
  return {{}, {}};
}

void ScriptedWork(const std::shared_ptr<grpc::Channel>& script) {
  const Ended skipping = Wait(script, Scripted("skipping"), In(minutes(1)));
  EXPECT_EQ(Ids(skipping), std::vector<std::string>{"good"});
  ASSERT_EQ(skipping.skipped.size(), 1U);
  EXPECT_EQ(skipping.skipped[0].id() + " " + skipping.skipped[0].code(), "left-out BackupService.6125");

  const TaskFailed failing = Failed([&] { Wait(script, Scripted("failing"), In(minutes(1))); });
  ASSERT_EQ(failing.failures.size(), 1U);
  const FailedWork& bad = failing.failures[0];
  EXPECT_EQ(bad.id + " " + bad.code, "bad BackupService.1204");
  EXPECT_EQ(bad.reason, v1::ERROR_REASON_UPSTREAM_INTERNAL);
  EXPECT_TRUE(bad.task && bad.task->status() == v1::TASK_STATUS_FAILED);
  EXPECT_EQ(Ids(failing.ended), std::vector<std::string>{"good"});
  EXPECT_NE(std::string(failing.what()).find("bad: The task failed in CBR. CBR: BackupService.1204"), std::string::npos) << failing.what();

  const TaskFailed nothing = Failed([&] { Wait(script, Scripted("nothing"), In(minutes(1))); });
  ASSERT_EQ(nothing.failures.size(), 1U);
  EXPECT_TRUE(nothing.failures[0].id == "nothing" && !nothing.failures[0].task) << nothing.what();
  const TaskFailed lost = Failed([&] { Wait(script, Scripted("lost"), In(minutes(1))); });
  ASSERT_EQ(lost.failures.size(), 1U);
  EXPECT_EQ(lost.failures[0].reason, v1::ERROR_REASON_SUBMISSION_NOT_FOUND);

  try {
    Wait(script, std::vector{Scripted("open"), Scripted("skipping")}, In(milliseconds(1000)));
    ADD_FAILURE() << "it has ended";
  } catch (const Error& late) {
    EXPECT_EQ(late.kind, Kind::kDeadline) << late.what();
    EXPECT_EQ(late.still_open, std::vector<std::string>{"slow"});
    EXPECT_NE(std::string(late.what()).find("slow"), std::string::npos) << late.what();
  }

  std::vector<std::string> many;
  for (int number = 0; number < 250; ++number) {
    many.push_back("task-" + std::to_string(number));
  }
  auto twice = many;
  twice.insert(twice.end(), many.begin(), many.end());
  EXPECT_EQ(Ids(Wait(script, twice, In(minutes(1)))), many);
}

TEST(Wait, Waits) {
  const auto channel = Connected();
  const auto vaults = VaultService::NewStub(channel);
  const auto vault = ProtectedVault(channel, "cpp-waits");
  v1::CreateCheckpointRequest backup;
  backup.mutable_checkpoint()->set_vault_id(vault.id());
  const auto checkpoints = CheckpointService::NewStub(channel);
  const auto [made, backed_up] = RunAndWait(channel, *checkpoints, &CheckpointService::Stub::CreateCheckpoint, backup, In(minutes(2)));
  EXPECT_NE(made.checkpoint().id(), "");
  ASSERT_EQ(backed_up.tasks.size(), 1U);
  EXPECT_EQ(backed_up.tasks[0].type(), v1::TASK_TYPE_BACKUP);
  EXPECT_EQ(Ids(Wait(channel, backed_up.tasks[0], In(minutes(1)))), Ids(backed_up));
  v1::DeleteVaultRequest same;
  same.set_vault_id(vault.id());
  same.set_force(true);
  const auto [answer, deleted] = RunAndWait(channel, *vaults, &VaultService::Stub::DeleteVault, same, In(minutes(2)));
  ASSERT_EQ(deleted.tasks.size(), 1U);
  EXPECT_EQ(deleted.tasks[0].type(), v1::TASK_TYPE_VAULT_DELETE);
  ScriptedWork(Connect(Given("SCRIPT_ADDRESS"), {.plaintext = true}));
  Passed("waits");
}

TEST(Wait, RefusesWhatHasNoId) {
  const auto closed = Connect(Given("CLOSED_ADDRESS"), {.plaintext = true});
  EXPECT_THROW(Wait(closed, v1::Submission()), std::invalid_argument);
  EXPECT_THROW(Wait(closed, v1::Task()), std::invalid_argument);
  EXPECT_THROW(Wait(closed, ""), std::invalid_argument);
  EXPECT_TRUE(Wait(closed, std::vector<std::string>()).tasks.empty());
}

TEST(Wait, ItsTimeIsUpWhileNobodyCanBeReached) {
  try {
    Wait(Connect(Given("CLOSED_ADDRESS"), {.plaintext = true}), "task-1", In(milliseconds(500)));
    ADD_FAILURE() << "it has ended";
  } catch (const Error& late) {
    EXPECT_EQ(late.kind, Kind::kDeadline) << late.what();
    EXPECT_EQ(late.still_open, std::vector<std::string>{"task-1"});
  }
}

TEST(Wait, ATextNamesAFewOfMany) {
  std::vector<std::string> many;
  for (int number = 0; number < 12; ++number) {
    many.push_back("task-" + std::to_string(number));
  }
  try {
    Wait(Connect(Given("CLOSED_ADDRESS"), {.plaintext = true}), many, In(milliseconds(100)));
    ADD_FAILURE() << "it has ended";
  } catch (const Error& late) {
    EXPECT_EQ(late.still_open, many);
    EXPECT_NE(std::string(late.what()).find("task-9 and 2 more"), std::string::npos) << late.what();
  }
}

v1::WatchTasksResponse Removed(const std::string& task_id, v1::TaskRemovalReason reason) {
  v1::WatchTasksResponse event;
  event.mutable_removed()->set_task_id(task_id);
  event.mutable_removed()->set_reason(reason);
  return event;
}

TEST(Wait, WhatElseATaskCanComeTo) {
  Work work(std::vector<std::string>{"gone", "skipped", "unreadable"});
  v1::WatchTasksResponse running;
  running.mutable_snapshot_task()->set_id("gone");
  running.mutable_snapshot_task()->set_status(v1::TASK_STATUS_RUNNING);
  work.Hear(running);
  v1::WatchTasksResponse skipped;
  skipped.mutable_terminal()->mutable_task()->set_id("skipped");
  skipped.mutable_terminal()->mutable_task()->set_status(v1::TASK_STATUS_SKIPPED);
  work.Hear(skipped);
  work.Hear(Removed("gone", v1::TASK_REMOVAL_REASON_GONE));
  EXPECT_EQ(work.StillOpen(), std::vector<std::string>{"unreadable"});
  auto unreadable = Removed("unreadable", v1::TASK_REMOVAL_REASON_UNREADABLE);
  unreadable.mutable_removed()->mutable_failure()->set_message("CBR refuses it.");
  work.Hear(unreadable);
  const TaskFailed failed = Failed([&] { work.End(); });
  ASSERT_EQ(failed.failures.size(), 3U);
  EXPECT_EQ(failed.failures[0].reason, v1::ERROR_REASON_TASK_NOT_FOUND);
  EXPECT_EQ(failed.failures[0].task->status(), v1::TASK_STATUS_RUNNING);
  EXPECT_EQ(failed.failures[1].task->status(), v1::TASK_STATUS_SKIPPED);
  EXPECT_EQ(failed.failures[2].message, "CBR refuses it.");
}

TEST(Wait, ARemovalHidesNoEnd) {
  Work work(std::string("ended"));
  v1::WatchTasksResponse ended;
  ended.mutable_terminal()->mutable_task()->set_id("ended");
  ended.mutable_terminal()->mutable_task()->set_status(v1::TASK_STATUS_SUCCEEDED);
  const auto removed = Removed("ended", v1::TASK_REMOVAL_REASON_NOT_FOUND);
  for (const auto& event : {removed, ended, removed}) {
    work.Hear(event);
  }
  EXPECT_EQ(Ids(work.End()), std::vector<std::string>{"ended"});
}

TEST(Wait, ASubmissionThatCannotBeDecided) {
  auto submission = Scripted("lost");
  Work work(submission);
  v1::WatchTasksResponse event;
  submission.add_task_ids("task");
  *event.mutable_submission() = submission;
  work.Hear(event);
  EXPECT_EQ(work.StillOpen(), (std::vector<std::string>{"task", "lost"}));
  event.mutable_submission()->clear_task_ids();
  event.mutable_submission()->set_state(v1::SUBMISSION_STATE_UNDECIDED);
  work.Hear(event);
  EXPECT_TRUE(work.StillOpen().empty());
  const TaskFailed failed = Failed([&] { work.End(); });
  ASSERT_EQ(failed.failures.size(), 1U);
  EXPECT_EQ(failed.failures[0].reason, v1::ERROR_REASON_OUTCOME_UNKNOWN);
}

}  // namespace
}  // namespace cbrgateway
