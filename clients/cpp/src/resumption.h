#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>

#include <grpcpp/support/status.h>

#include "cbrgateway/errors.h"
#include "cbrgateway/v1/task.pb.h"

namespace cbrgateway {

/// How a stream ends that does not tell its end.
grpc::Status Lost(const std::string& what);

/// What a watch remembers between its streams, and what it does when one ends. No input and no output: Watch has those.
class Resumption {
 public:
  /// What follows the end of a stream.
  struct Next {
    bool over = false;
    grpc::Status status = {};                         // How the watch ended, if it is over.
    std::chrono::nanoseconds pause{0};                // Otherwise: before a new stream.
    std::optional<v1::WatchTasksResponse> gap = {};  // For the caller, before the pause.
  };

  explicit Resumption(const v1::WatchTasksRequest& request);

  /// The request of the next stream.
  const v1::WatchTasksRequest& Opened();

  /// How long a healthy stream can be silent at most.
  std::chrono::milliseconds Silence() const;

  /// Whether an event is news for the caller. Not OK if one before it is missing.
  grpc::Status Take(const v1::WatchTasksResponse& event, bool* news);

  Next Ended(const grpc::Status& status);

 private:
  void Forget();
  bool IsNew(const v1::Task& task);
  bool IsCut(const Error& error) const;
  std::chrono::nanoseconds Backoff();

  v1::WatchTasksRequest request_;
  std::int64_t sequence_ = 0;
  std::optional<v1::StreamEnd> end_;
  std::chrono::steady_clock::time_point failing_since_;  // When the first of the failures was that no event has followed.
  int failures_ = 0;
  std::unordered_map<std::string, std::int64_t> revisions_;
  std::deque<std::string> order_;  // Ids in revisions_, the oldest first.
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace cbrgateway
