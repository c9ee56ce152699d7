#include "stream.h"

#include <sstream>

#include <grpc/support/time.h>

#include "resumption.h"

namespace cbrgateway {

// The asynchronous API, one operation at a time: only its queue can wait with a limit. The operations need no tags.
Stream::Stream(std::chrono::system_clock::time_point deadline, std::chrono::milliseconds silence) : silence_(silence) { context_.set_deadline(deadline); }

Stream::~Stream() {
  if (!finished_) {
    Cancel();
    Finish();
  }
  queue_.Shutdown();
  Wait();
}

void Stream::Start(v1::TaskService::Stub& tasks, const v1::WatchTasksRequest& request) {
  reader_ = tasks.AsyncWatchTasks(&context_, request, &queue_, nullptr);
  Wait();
}

bool Stream::Read(v1::WatchTasksResponse* event) {
  reader_->Read(event, nullptr);
  return Wait();
}

grpc::Status Stream::Finish() {
  grpc::Status status;
  reader_->Finish(&status, nullptr);
  Wait();
  finished_ = true;
  if (silent_) {
    std::ostringstream what;
    what << "no sign of life for " << std::chrono::duration<double>(silence_).count() << " s";
    return Lost(what.str());
  }
  return status;
}

/// Waits for the operation under way, and answers whether it went well. What takes too long is cancelled, and with it all that follows.
bool Stream::Wait() {
  void* tag = nullptr;
  bool well = false;
  const auto limit = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(silence_.count(), GPR_TIMESPAN));
  if (queue_.AsyncNext(&tag, &well, limit) == grpc::CompletionQueue::TIMEOUT) {
    silent_ = true;
    context_.TryCancel();
    queue_.Next(&tag, &well);
  }
  return well;
}

}  // namespace cbrgateway
