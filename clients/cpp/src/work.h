#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cbrgateway/v1/task.pb.h"
#include "cbrgateway/wait.h"

namespace cbrgateway {

/// Work that is waited for: what has been heard of it, and what follows from that.
class Work {
 public:
  explicit Work(const Wanted& wanted);

  /// What was asked for, each id once.
  const std::vector<std::string>& task_ids() const { return named_tasks_; }
  std::vector<std::string> submission_ids() const { return submission_order_; }

  void Hear(const v1::WatchTasksResponse& event);

  /// Ids of tasks that have not ended, and of submissions whose tasks are not all known.
  std::vector<std::string> StillOpen() const;

  /// Once all has ended. Throws TaskFailed.
  Ended End() const;

 private:
  struct Seen {
    std::optional<v1::Task> task = {};
    bool over = false;
    std::optional<v1::TaskRemoval> removed = {};
  };
  struct Followed {
    v1::Submission submission = {};
    std::optional<v1::TaskRemoval> removed = {};
  };

  Seen& TaskAt(const std::string& id);
  Followed& SubmissionAt(const std::string& id);
  void See(const v1::Task& task, bool over);
  void Follow(const v1::Submission& submission);

  std::map<std::string, Seen> tasks_;
  std::map<std::string, Followed> submissions_;
  std::vector<std::string> task_order_;  // As they came.
  std::vector<std::string> submission_order_;
  std::vector<std::string> named_tasks_;
};

}  // namespace cbrgateway
