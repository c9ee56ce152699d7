/// Waits for the end of work.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "cbrgateway/client.h"
#include "cbrgateway/v1/task.pb.h"
#include "cbrgateway/v1/types.pb.h"

namespace cbrgateway {

/// What work has come to.
struct Ended {
  std::vector<v1::Task> tasks;               ///< Those that have succeeded, as they ended.
  std::vector<v1::SkippedResource> skipped;  ///< What CBR left out, with its code and reason. A change can succeed and leave out every resource.
};

/// A part of work that did not succeed.
struct FailedWork {
  std::string id;                ///< Of the task, or of the submission.
  std::optional<v1::Task> task;  ///< As it was last seen, if it was.
  std::string code;              ///< CBR's, such as `BackupService.6125`; empty where it gave none.
  v1::ErrorReason reason;        ///< Ours.
  std::string message;           ///< For people.
};

/// Work that has ended, and did not all succeed.
struct TaskFailed : std::exception {
  TaskFailed(std::vector<FailedWork> failed, Ended succeeded);
  const char* what() const noexcept override { return text_.c_str(); }

  std::vector<FailedWork> failures;
  Ended ended;  ///< What did succeed, and what CBR left out.

 private:
  std::string text_;
};

/// What Wait waits for: a submission, a task, the id of a task, or several of these. Throws std::invalid_argument for what has no id.
class Wanted {
 public:
  Wanted(const v1::Submission& submission);  // NOLINT: in the place of one
  Wanted(const v1::Task& task);              // NOLINT
  Wanted(const std::string& task_id);        // NOLINT
  Wanted(const char* task_id) : Wanted(std::string(task_id)) {}
  template <class One>
  Wanted(const std::vector<One>& several) {  // NOLINT
    for (const auto& each : several) {
      Add(Wanted(each));
    }
  }

  const std::vector<std::string>& task_ids() const { return task_ids_; }
  const std::vector<v1::Submission>& submissions() const { return submissions_; }

 private:
  void Add(const Wanted& other);

  std::vector<std::string> task_ids_;
  std::vector<v1::Submission> submissions_;
};

using Deadline = std::chrono::system_clock::time_point;

/// Waits until all has ended, by one Watch after the other for each hundred ids; nothing is polled.
///
/// Throws TaskFailed once all has ended, if not all has succeeded; Error of kind kDeadline, with `still_open`, when the time is up, and the work goes on; any
/// other Error as a Watch ends with it.
///
///     Ended ended = cbrgateway::Wait(channel, answer.submission(), std::chrono::system_clock::now() + std::chrono::hours(1));
Ended Wait(const std::shared_ptr<grpc::ChannelInterface>& channel, const Wanted& wanted, Deadline deadline = Deadline::max());

/// Makes a change, and waits for what it has started: answers both.
///
///     auto [answer, ended] = cbrgateway::RunAndWait(channel, *vaults, &VaultService::Stub::DeleteVault, request);
///
/// Throws as Call and Wait; std::invalid_argument, after the change, for an answer without a submission, as that of one that was only validated.
template <class Stub, class Request, class Response>
std::pair<Response, Ended> RunAndWait(const std::shared_ptr<grpc::ChannelInterface>& channel, Stub& stub,
                                      grpc::Status (Stub::*rpc)(grpc::ClientContext*, const Request&, Response*),
                                      const std::type_identity_t<Request>& request, Deadline deadline = Deadline::max()) {
  Response answer = Call(stub, rpc, request);
  Ended ended = Wait(channel, answer.submission(), deadline);
  return {std::move(answer), std::move(ended)};
}

}  // namespace cbrgateway
