#pragma once

#include <chrono>
#include <memory>

#include <grpcpp/grpcpp.h>

#include "cbrgateway/v1/task.grpc.pb.h"

namespace cbrgateway {

/// One stream of a watch, which is lost when it has been silent for too long. One thread uses it; any may cancel it.
class Stream {
 public:
  Stream(std::chrono::system_clock::time_point deadline, std::chrono::milliseconds silence);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Comes first, and once.
  void Start(v1::TaskService::Stub& tasks, const v1::WatchTasksRequest& request);

  /// Waits for the next event; false when the stream has ended.
  bool Read(v1::WatchTasksResponse* event);

  /// How the stream has ended.
  grpc::Status Finish();

  void Cancel() { context_.TryCancel(); }

 private:
  bool Wait();

  const std::chrono::milliseconds silence_;
  bool silent_ = false;
  bool finished_ = false;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReader<v1::WatchTasksResponse>> reader_;
};

}  // namespace cbrgateway
