#pragma once

#include <string>

#include "cbrgateway/errors.h"

namespace cbrgateway {

/// Who ended a call that the gateway did not answer, by the words of gRPC and of its library for TLS.
Kind KindOf(const grpc::Status& status, bool plaintext);

/// What to do about it, where the text of the gateway does not say it; else empty.
std::string Advice(const Error& error);

}  // namespace cbrgateway
