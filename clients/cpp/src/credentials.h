#pragma once

#include <memory>

#include <grpcpp/security/credentials.h>

#include "cbrgateway/client.h"

namespace cbrgateway {

/// What the options ask for. Throws std::invalid_argument if they contradict each other, or hold no certificate.
std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const Options& options);

}  // namespace cbrgateway
