#include "cbrgateway/watch.h"

#include <algorithm>
#include <utility>

#include "resumption.h"
#include "stream.h"

namespace cbrgateway {

Watch::Watch(const std::shared_ptr<grpc::ChannelInterface>& channel, const v1::WatchTasksRequest& request, Deadline deadline)
    : tasks_(v1::TaskService::NewStub(channel)), deadline_(deadline), memory_(std::make_unique<Resumption>(request)) {}

Watch::~Watch() = default;

bool Watch::Read(v1::WatchTasksResponse* event) {
  while (!over_) {
    if (!stream_) {
      Open();
    }
    const auto ended = Receive(event);
    if (!ended) {
      return true;
    }
    Close();
    const Resumption::Next next = memory_->Ended(*ended);
    if (next.gap) {
      *event = *next.gap;
      return true;
    }
    over_ = next.over;
    status_ = next.status;
    if (!over_ && !Pause(next.pause)) {
      over_ = true;
      status_ = grpc::Status(grpc::CANCELLED, "the watch was cancelled");
    }
  }
  return false;
}

void Watch::Cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (stream_) {
    stream_->Cancel();
  }
  wake_.notify_all();
}

void Watch::Open() {
  {
    const std::lock_guard lock(mutex_);
    stream_ = std::make_unique<Stream>(deadline_, memory_->Silence());
    if (cancelled_) {
      stream_->Cancel();
    }
  }
  stream_->Start(*tasks_, memory_->Opened());
}

/// Reads on until an event is news; otherwise answers how the stream has ended.
std::optional<grpc::Status> Watch::Receive(v1::WatchTasksResponse* event) {
  while (stream_->Read(event)) {
    bool news = false;
    if (const grpc::Status taken = memory_->Take(*event, &news); !taken.ok()) {
      return taken;
    }
    if (news) {
      return std::nullopt;
    }
  }
  return stream_->Finish();
}

void Watch::Close() {
  const std::lock_guard lock(mutex_);
  stream_.reset();
}

/// Waits, at most until the deadline; false if the watch is cancelled.
bool Watch::Pause(std::chrono::nanoseconds pause) {
  std::unique_lock lock(mutex_);
  const std::chrono::nanoseconds left = deadline_ - std::chrono::system_clock::now();
  return !wake_.wait_for(lock, std::min(pause, left), [this] { return cancelled_; });
}

}  // namespace cbrgateway
