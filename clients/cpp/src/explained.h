#pragma once

#include <string>

#include <google/rpc/error_details.pb.h>
#include <grpcpp/support/status.h>

#include "cbrgateway/v1/errors.pb.h"

namespace cbrgateway {

/// Where a call is made.
struct Target {
  std::string address;
  bool plaintext = false;
};

/// The status of a failed call with a text that says what happened where nobody answered; where it was called, and the request_id of a change, are among its
/// details, where Error finds them.
grpc::Status Explained(const grpc::Status& status, const Target& target, const std::string& request_id);

/// OTHER for a reason that is newer than this package.
v1::ErrorReason ReasonOf(const google::rpc::ErrorInfo& info);

}  // namespace cbrgateway
