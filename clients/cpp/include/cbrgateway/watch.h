/// Follows tasks through cuts and restarts of the gateway.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include <grpcpp/grpcpp.h>

#include "cbrgateway/v1/task.grpc.pb.h"

namespace cbrgateway {

class Resumption;
class Stream;

/// Reads like a stream of gRPC's own that does not break, until all tasks are final (end_when_all_terminal), Cancel is called, or the deadline passes.
///
///     Watch watch(channel, request);
///     for (v1::WatchTasksResponse event; watch.Read(&event);) { ... }
///     grpc::Status status = watch.Finish();
///
/// To leave early, destroy it.
class Watch {
 public:
  using Deadline = std::chrono::system_clock::time_point;

  /// A request with the resume_token of the last event goes on from there, also in another process.
  Watch(const std::shared_ptr<grpc::ChannelInterface>& channel, const v1::WatchTasksRequest& request, Deadline deadline = Deadline::max());
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Waits for the next event; false when there is none any more. Left out are stream_end and the events of a task that came before, by its id and revision.
  /// Handle gap: events may be missing, a whole snapshot follows.
  bool Read(v1::WatchTasksResponse* event);

  /// Once Read has answered false: OK if all tasks are final. Otherwise a refusal, or a gateway that could not be reached for a minute.
  grpc::Status Finish() const { return status_; }

  /// Ends the watch from another thread: Read answers false, Finish CANCELLED.
  void Cancel();

 private:
  void Open();
  std::optional<grpc::Status> Receive(v1::WatchTasksResponse* event);
  void Close();
  bool Pause(std::chrono::nanoseconds pause);

  const std::unique_ptr<v1::TaskService::Stub> tasks_;
  const Deadline deadline_;
  const std::unique_ptr<Resumption> memory_;
  bool over_ = false;
  grpc::Status status_;

  std::mutex mutex_;  // Guards what Cancel touches.
  std::condition_variable wake_;
  bool cancelled_ = false;
  std::unique_ptr<Stream> stream_;  // Only Read changes it.
};

}  // namespace cbrgateway
