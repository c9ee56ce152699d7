/// Connects to a CBR Gateway and does three things that every caller needs and that are easy to get wrong: calls have deadlines, calls are repeated only
/// where that is safe, and errors say what to do. The API itself is the generated code, cbrgateway/v1.
///
///     auto channel = cbrgateway::Connect("gateway.example.com:50051", {.api_key = key});
///     auto vaults = cbrgateway::v1::VaultService::NewStub(channel);
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/client_interceptor.h>

#include "cbrgateway/errors.h"

namespace cbrgateway {

/// As whom the gateway is called, and how it is reached.
struct Options {
  /// A key that the gateway's operator has made.
  std::string api_key = {};
  /// Instead of a key: answers a token (JWT). It is asked for each call, in the thread of the call, so it should keep a token until shortly before the token
  /// expires. If it throws, or answers what no header can carry, the call ends with UNAUTHENTICATED and nothing is sent.
  std::function<std::string()> token = {};
  /// The project of all calls. Without it calls go to the tenant's default project.
  std::string project = {};
  /// Trust these certificate authorities (PEM) instead of the system's.
  std::string authorities = {};
  /// The same in a file, which is read again when it has changed.
  std::string authorities_file = {};
  /// The caller's own certificate and its key (PEM), for gateways that want one.
  std::string certificate = {};
  std::string key = {};
  /// The same in files, which are read again within a second of a change; what they hold then counts for new connections. Authorities come from a file, too,
  /// or are the system's.
  std::string certificate_file = {};
  std::string key_file = {};
  /// In the place of all of these.
  std::shared_ptr<grpc::ChannelCredentials> credentials = {};
  /// Changes the arguments of the channel, after what this package sets.
  std::function<void(grpc::ChannelArguments&)> arguments = {};
  /// They see each call as it is sent, with credential and request_id; the first of them first.
  std::vector<std::shared_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors = {};
  /// Do without TLS. The API key travels readable: for a gateway on this machine only.
  bool plaintext = false;
};

/// Makes a channel for the generated stubs, of any style: blocking, asynchronous or with callbacks. Nothing is sent before the first call.
///
/// The address is host:port, or a name that gRPC resolves, such as dns:///host:port. A failed call ends with a grpc::Status as ever; Error unpacks it. Throws
/// std::invalid_argument for what is no address, and for options that cannot work.
std::shared_ptr<grpc::Channel> Connect(const std::string& address, const Options& options = {});

/// How long each RPC may take and which are repeated, in JSON. Connect uses it; a channel made in another way can, too.
extern const char kServiceConfig[];

/// Makes a call for programs that use exceptions: answers the response, or throws Error.
///
///     auto listed = cbrgateway::Call(*vaults, &VaultService::Stub::ListVaults, request);
template <class Stub, class Request, class Response>
Response Call(Stub& stub, grpc::Status (Stub::*rpc)(grpc::ClientContext*, const Request&, Response*), const std::type_identity_t<Request>& request) {
  grpc::ClientContext context;
  Response response;
  if (const grpc::Status status = (stub.*rpc)(&context, request, &response); !status.ok()) {
    throw Error(status);
  }
  return response;
}

}  // namespace cbrgateway
