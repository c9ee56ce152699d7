#include "work.h"

#include <string_view>

#include <absl/strings/str_cat.h>

#include "explained.h"

namespace cbrgateway {
namespace {

bool IsSettled(const v1::Submission& submission) {
  return submission.state() != v1::SUBMISSION_STATE_UNSPECIFIED && submission.state() != v1::SUBMISSION_STATE_CORRELATING &&
         submission.state() != v1::SUBMISSION_STATE_OUTCOME_UNKNOWN;
}

v1::ErrorReason ReasonIn(const google::rpc::Status& status) {
  for (const auto& detail : status.details()) {
    if (google::rpc::ErrorInfo info; detail.UnpackTo(&info)) {
      return ReasonOf(info);
    }
  }
  return v1::ERROR_REASON_UNSPECIFIED;
}

FailedWork OfTask(const v1::Task& task) {
  std::string message = task.has_failure() ? task.failure().message()
                                           : "the task ended as " + (task.status_raw().empty() ? v1::TaskStatus_Name(task.status()) : task.status_raw());
  const auto& error = task.error_info();
  if (!error.code().empty()) {
    absl::StrAppend(&message, " CBR: ", error.code(), error.message().empty() ? "" : " ", error.message());
  }
  return {task.id(), task, error.code(), ReasonIn(task.failure()), message};
}

/// Nothing where work was started, or CBR has said what it left out.
std::optional<FailedWork> OfSubmission(const v1::Submission& submission) {
  if (submission.state() == v1::SUBMISSION_STATE_NOT_STARTED && submission.skipped_resources().empty()) {
    return FailedWork{submission.id(), {}, {}, v1::ERROR_REASON_UNSPECIFIED, "nothing was started: the change was not made"};
  }
  if (submission.state() == v1::SUBMISSION_STATE_UNDECIDED) {
    return FailedWork{
        submission.id(), {}, {}, v1::ERROR_REASON_OUTCOME_UNKNOWN, "it cannot be told whether CBR has made the change: " + submission.state_reason()};
  }
  return std::nullopt;
}

FailedWork OfRemoval(const std::string& id, const std::optional<v1::Task>& task, const v1::TaskRemoval& removal, v1::ErrorReason unknown) {
  if (removal.has_failure()) {
    return {id, task, {}, ReasonIn(removal.failure()), removal.failure().message()};
  }
  const bool gone = removal.reason() == v1::TASK_REMOVAL_REASON_GONE;
  return {id, task, {}, unknown, gone ? "CBR does not show it any more, and did not show its end" : "there is no such one"};
}

}  // namespace

Work::Work(const Wanted& wanted) {
  for (const auto& id : wanted.task_ids()) {
    TaskAt(id);
  }
  named_tasks_ = task_order_;
  for (const auto& submission : wanted.submissions()) {
    Follow(submission);
  }
}

void Work::Hear(const v1::WatchTasksResponse& event) {
  switch (event.event_case()) {
    case v1::WatchTasksResponse::kSnapshotTask:
      return See(event.snapshot_task(), false);
    case v1::WatchTasksResponse::kUpdate:
      return See(event.update().task(), false);
    case v1::WatchTasksResponse::kTerminal:
      return See(event.terminal().task(), true);
    case v1::WatchTasksResponse::kSubmission:
      return Follow(event.submission());
    case v1::WatchTasksResponse::kRemoved:
      if (event.removed().task_id().empty()) {
        SubmissionAt(event.removed().submission_id()).removed = event.removed();
      } else {
        TaskAt(event.removed().task_id()).removed = event.removed();
      }
      return;
    default:
      return;
  }
}

std::vector<std::string> Work::StillOpen() const {
  std::vector<std::string> open;
  for (const auto& id : task_order_) {
    if (const Seen& seen = tasks_.at(id); !seen.over && !seen.removed) {
      open.push_back(id);
    }
  }
  std::vector<std::string> unsettled;
  for (const auto& id : submission_order_) {
    const auto& [submission, removed] = submissions_.at(id);
    if (removed) {
      continue;
    }
    for (const auto& found : submission.task_ids()) {
      if (!tasks_.contains(found)) {
        open.push_back(found);
      }
    }
    if (!IsSettled(submission)) {
      unsettled.push_back(id);
    }
  }
  open.insert(open.end(), unsettled.begin(), unsettled.end());
  return open;
}

Ended Work::End() const {
  Ended ended;
  std::vector<FailedWork> failures;
  for (const auto& id : task_order_) {
    const auto& [task, over, removed] = tasks_.at(id);
    if (removed && !over) {
      failures.push_back(OfRemoval(id, task, *removed, v1::ERROR_REASON_TASK_NOT_FOUND));
    } else if (task && over && task->status() == v1::TASK_STATUS_SUCCEEDED) {
      ended.tasks.push_back(*task);
    } else if (task && over) {
      failures.push_back(OfTask(*task));
    }
  }
  for (const auto& id : submission_order_) {
    const auto& [submission, removed] = submissions_.at(id);
    if (removed) {
      failures.push_back(OfRemoval(id, std::nullopt, *removed, v1::ERROR_REASON_SUBMISSION_NOT_FOUND));
    } else if (auto failure = OfSubmission(submission)) {
      failures.push_back(*std::move(failure));
    }
    ended.skipped.insert(ended.skipped.end(), submission.skipped_resources().begin(), submission.skipped_resources().end());
  }
  if (!failures.empty()) {
    throw TaskFailed(std::move(failures), std::move(ended));
  }
  return ended;
}

Work::Seen& Work::TaskAt(const std::string& id) {
  const auto [found, added] = tasks_.try_emplace(id);
  if (added) {
    task_order_.push_back(id);
  }
  return found->second;
}

Work::Followed& Work::SubmissionAt(const std::string& id) {
  const auto [found, added] = submissions_.try_emplace(id);
  if (added) {
    submission_order_.push_back(id);
  }
  return found->second;
}

void Work::See(const v1::Task& task, bool over) { TaskAt(task.id()) = {.task = task, .over = over}; }

void Work::Follow(const v1::Submission& submission) { SubmissionAt(submission.id()) = {.submission = submission}; }

}  // namespace cbrgateway
