#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <grpcpp/support/client_interceptor.h>

#include "explained.h"

namespace cbrgateway {

/// Throws std::invalid_argument for what no header can carry: gRPC would end the process.
void CheckHeader(std::string_view name, std::string_view value);

/// Puts the caller's metadata and a request_id on each call of a channel, and explains the status of those that fail. It stands above gRPC's own repeats, so
/// all attempts of a call send the same request with the same request_id.
class Caller final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  /// Without a bearer, or with an empty project, calls go without.
  Caller(Target target, std::function<std::string()> bearer, std::string project);

  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo* call) override;

 private:
  class Interceptor;

  Target target_;
  std::function<std::string()> bearer_;
  std::string project_;
};

}  // namespace cbrgateway
