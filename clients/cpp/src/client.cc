#include "cbrgateway/client.h"

#include <stdexcept>
#include <utility>
#include <vector>

#include "address.h"
#include "caller.h"
#include "credentials.h"

namespace cbrgateway {
namespace {

void Check(const Options& options) {
  if (!options.api_key.empty() && options.token) {
    throw std::invalid_argument("api_key and token: give one of them");
  }
  CheckHeader("api_key", options.api_key);
  CheckHeader("project", options.project);
}

/// Of the caller: gRPC wants to own it.
class Shared final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit Shared(std::shared_ptr<grpc::experimental::ClientInterceptorFactoryInterface> factory) : factory_(std::move(factory)) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo* call) override {
    return factory_->CreateClientInterceptor(call);
  }

 private:
  const std::shared_ptr<grpc::experimental::ClientInterceptorFactoryInterface> factory_;
};

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  // Requests of up to 1 MiB are repeated, too. gRPC would keep none above 256 KiB for that.
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, 2 << 20);
  // gRPC's own would wait up to two minutes before it looks again for a gateway that was away.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  // Pings while calls are open find a connection that died without a word; they go on, where gRPC would stop after two, while a stream only receives.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A connection of its own for each channel. gRPC would let all channels to an address share one, which carries 256 calls at a time.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& address, const Options& options) {
  CheckAddress(address);
  Check(options);
  auto bearer = options.token;
  if (!options.api_key.empty()) {
    bearer = [key = options.api_key] { return key; };
  }
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<Caller>(Target{address, options.plaintext}, std::move(bearer), options.project));
  for (const auto& factory : options.interceptors) {
    interceptors.push_back(std::make_unique<Shared>(factory));
  }
  grpc::ChannelArguments arguments = Arguments();
  if (options.arguments) {
    options.arguments(arguments);
  }
  return grpc::experimental::CreateCustomChannelWithInterceptors(address, CredentialsOf(options), arguments, std::move(interceptors));
}

}  // namespace cbrgateway
