#include "resumption.h"

#include <algorithm>

#include <google/protobuf/util/time_util.h>

namespace cbrgateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using google::protobuf::util::TimeUtil;

constexpr milliseconds kDefaultHeartbeat{20'000};
constexpr std::chrono::hours kLongestHeartbeat{1};  // The gateway refuses one that is longer, and any that is not positive.
constexpr milliseconds kFirstPause{200};
constexpr std::chrono::seconds kLongestPause{20};
constexpr std::chrono::minutes kReconnectTimeout{1};  // After failures alone for longer, the next one ends the watch.
constexpr std::size_t kMaxRemembered = 10'000;  // Tasks whose last revision is known. One that was forgotten may be told twice.

}  // namespace

grpc::Status Lost(const std::string& what) { return {grpc::UNAVAILABLE, "the stream was lost: " + what}; }

Resumption::Resumption(const v1::WatchTasksRequest& request) : request_(request) {}

const v1::WatchTasksRequest& Resumption::Opened() {
  sequence_ = 0;
  end_.reset();
  return request_;
}

milliseconds Resumption::Silence() const {
  const milliseconds own(TimeUtil::DurationToMilliseconds(request_.heartbeat_interval()));
  const bool usable = own > own.zero() && own <= kLongestHeartbeat;
  return (usable ? own : kDefaultHeartbeat) * 5 / 2;
}

grpc::Status Resumption::Take(const v1::WatchTasksResponse& event, bool* news) {
  if (event.sequence() != sequence_ + 1) {
    return Lost("event " + std::to_string(sequence_ + 1) + " is missing, " + std::to_string(event.sequence()) + " came instead");
  }
  sequence_ = event.sequence();
  failures_ = 0;
  if (!event.resume_token().empty()) {
    request_.set_resume_token(event.resume_token());
  }
  switch (event.event_case()) {
    case v1::WatchTasksResponse::kStreamEnd:
      end_ = event.stream_end();
      *news = false;
      break;
    case v1::WatchTasksResponse::kSnapshotTask:
      *news = IsNew(event.snapshot_task());
      break;
    case v1::WatchTasksResponse::kUpdate:
      *news = IsNew(event.update().task());
      break;
    case v1::WatchTasksResponse::kTerminal:
      *news = IsNew(event.terminal().task());
      break;
    case v1::WatchTasksResponse::kGap:
      Forget();
      *news = true;
      break;
    default:
      *news = true;
  }
  return grpc::Status::OK;
}

Resumption::Next Resumption::Ended(const grpc::Status& status) {
  if (status.ok() && end_) {
    if (end_->reason() == v1::STREAM_END_REASON_ALL_TERMINAL) {
      return {.over = true};
    }
    return {.pause = nanoseconds(TimeUtil::DurationToNanoseconds(end_->retry_delay()))};
  }
  const grpc::Status why = status.ok() ? Lost("it ended without stream_end") : status;
  const Error error(why);
  if (error.code == grpc::OUT_OF_RANGE && !request_.resume_token().empty()) {
    request_.clear_resume_token();
    request_.clear_include_snapshot();
    Forget();
    Next next{.gap = v1::WatchTasksResponse()};
    next.gap->mutable_gap()->set_reason(error.what());
    return next;
  }
  failing_since_ = failures_ > 0 ? failing_since_ : std::chrono::steady_clock::now();
  if (!IsCut(error) || std::chrono::steady_clock::now() - failing_since_ > kReconnectTimeout) {
    return {.over = true, .status = why};
  }
  return {.pause = std::max(Backoff(), error.retry_delay)};
}

/// After a gap the snapshot that follows is told whole: what the caller knew may be incomplete.
void Resumption::Forget() {
  revisions_.clear();
  order_.clear();
}

bool Resumption::IsNew(const v1::Task& task) {
  const auto [known, added] = revisions_.try_emplace(task.id(), task.revision());
  if (!added) {
    const bool newer = task.revision() > known->second;
    known->second = std::max(known->second, task.revision());
    return newer;
  }
  order_.push_back(task.id());
  if (order_.size() > kMaxRemembered) {
    revisions_.erase(order_.front());
    order_.pop_front();
  }
  return true;
}

/// Whether a new stream can go on where this one broke.
bool Resumption::IsCut(const Error& error) const {
  switch (error.code) {
    case grpc::UNAVAILABLE:
    case grpc::ABORTED:
    case grpc::CANCELLED:
      return true;
    case grpc::RESOURCE_EXHAUSTED:  // The places of lost streams are still taken for a while.
      return !request_.resume_token().empty() || error.reason == v1::ERROR_REASON_OVERLOADED;
    case grpc::INTERNAL:
    case grpc::UNKNOWN:  // Something between the gateway and us.
      return error.kind != Kind::kAnswered;
    default:
      return false;
  }
}

nanoseconds Resumption::Backoff() {
  const nanoseconds longest = std::min<nanoseconds>(kLongestPause, kFirstPause * (1 << std::min(failures_, 10)));
  ++failures_;
  return nanoseconds(std::uniform_int_distribution<nanoseconds::rep>(0, longest.count())(random_));
}

}  // namespace cbrgateway
