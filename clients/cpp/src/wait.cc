#include "cbrgateway/wait.h"

#include <algorithm>
#include <stdexcept>

#include <absl/strings/str_join.h>

#include "cbrgateway/watch.h"
#include "work.h"

namespace cbrgateway {
namespace {

constexpr std::size_t kMaxIds = 100;  // So many a watch can name.
constexpr std::size_t kNamed = 10;    // So many a text names.

const std::string& Named(const std::string& id) {
  if (id.empty()) {
    throw std::invalid_argument(
        "there is nothing to wait for: what was given has no id. An answer without submission, as after validate_only, has started nothing that the gateway "
        "knows of");
  }
  return id;
}

[[noreturn]] void ThrowLate(const Work& work) {
  auto open = work.StillOpen();
  const std::size_t named = std::min(open.size(), kNamed);
  std::string text = "not all has ended in time, and goes on: " + absl::StrJoin(open.begin(), open.begin() + static_cast<std::ptrdiff_t>(named), ", ");
  if (named < open.size()) {
    text += " and " + std::to_string(open.size() - named) + " more";
  }
  throw Error(grpc::Status(grpc::DEADLINE_EXCEEDED, text), std::move(open));
}

void Follow(const std::shared_ptr<grpc::ChannelInterface>& channel, const v1::TaskFilter& filter, Deadline deadline, Work* work) {
  v1::WatchTasksRequest request;
  *request.mutable_filter() = filter;
  request.set_end_when_all_terminal(true);
  Watch watch(channel, request, deadline);
  for (v1::WatchTasksResponse event; watch.Read(&event);) {
    work->Hear(event);
  }
  const grpc::Status status = watch.Finish();
  if (status.error_code() == grpc::DEADLINE_EXCEEDED && std::chrono::system_clock::now() >= deadline) {
    ThrowLate(*work);
  }
  if (!status.ok()) {
    throw Error(status);
  }
}

/// Fills a filter with a hundred ids after the other, and uses it.
template <class Add, class Use>
void InParts(const std::vector<std::string>& ids, Add add, Use use) {
  for (std::size_t begin = 0; begin < ids.size(); begin += kMaxIds) {
    v1::TaskFilter filter;
    const std::size_t end = std::min(begin + kMaxIds, ids.size());
    for (std::size_t index = begin; index < end; ++index) {
      add(&filter, ids[index]);
    }
    use(filter);
  }
}

}  // namespace

TaskFailed::TaskFailed(std::vector<FailedWork> failed, Ended succeeded) : failures(std::move(failed)), ended(std::move(succeeded)) {
  text_ = absl::StrJoin(failures, "\n", [](std::string* out, const FailedWork& each) { absl::StrAppend(out, each.id, ": ", each.message); });
}

Wanted::Wanted(const v1::Submission& submission) : submissions_{submission} { Named(submission.id()); }

Wanted::Wanted(const v1::Task& task) : task_ids_{Named(task.id())} {}

Wanted::Wanted(const std::string& task_id) : task_ids_{Named(task_id)} {}

void Wanted::Add(const Wanted& other) {
  task_ids_.insert(task_ids_.end(), other.task_ids_.begin(), other.task_ids_.end());
  submissions_.insert(submissions_.end(), other.submissions_.begin(), other.submissions_.end());
}

Ended Wait(const std::shared_ptr<grpc::ChannelInterface>& channel, const Wanted& wanted, Deadline deadline) {
  Work work(wanted);
  const auto follow = [&](const v1::TaskFilter& filter) { Follow(channel, filter, deadline, &work); };
  const auto add_task = [](v1::TaskFilter* filter, const std::string& id) { filter->add_task_ids(id); };
  const auto add_submission = [](v1::TaskFilter* filter, const std::string& id) { filter->add_submission_ids(id); };
  InParts(work.task_ids(), add_task, follow);
  InParts(work.submission_ids(), add_submission, follow);
  return work.End();
}

}  // namespace cbrgateway
