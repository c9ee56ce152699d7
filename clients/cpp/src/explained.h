#pragma once

#include <string>

#include <grpcpp/support/status.h>

namespace cbrgateway {

/// The status of a failed call with a text that says what happened where nobody answered, and with the request_id of a change among its details, where
/// Error finds it.
grpc::Status Explained(const grpc::Status& status, const std::string& address, const std::string& request_id);

}  // namespace cbrgateway
