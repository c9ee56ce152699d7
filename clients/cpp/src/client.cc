#include "cbrgateway/client.h"

#include <stdexcept>
#include <utility>
#include <vector>

#include <grpcpp/support/client_interceptor.h>

#include "caller.h"

namespace cbrgateway {
namespace {

void Check(const std::string& address, const Options& options) {
  if (address.empty()) {
    throw std::invalid_argument("address: it is empty; give host:port");
  }
  if (!options.api_key.empty() && options.token) {
    throw std::invalid_argument("api_key and token: give one of them");
  }
  if (options.plaintext && !options.authorities.empty()) {
    throw std::invalid_argument("plaintext and authorities: give one of them");
  }
  if (!options.authorities.empty() && options.authorities.find("-----BEGIN CERTIFICATE-----") == std::string::npos) {
    throw std::invalid_argument("authorities: no certificate in what was given; it must be PEM, not the name of a file");
  }
  CheckHeader("api_key", options.api_key);
  CheckHeader("project", options.project);
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
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
  Check(address, options);
  auto bearer = options.token;
  if (!options.api_key.empty()) {
    bearer = [key = options.api_key] { return key; };
  }
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<Caller>(address, std::move(bearer), options.project));
  const auto credentials = options.plaintext ? grpc::InsecureChannelCredentials() : grpc::SslCredentials({options.authorities, {}, {}});
  return grpc::experimental::CreateCustomChannelWithInterceptors(address, credentials, Arguments(), std::move(interceptors));
}

}  // namespace cbrgateway
