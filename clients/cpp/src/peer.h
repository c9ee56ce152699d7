#pragma once

#include <string>

namespace cbrgateway {

/// Whether the certificate at `host:port` is out of date, or not valid yet; false if that cannot be seen. For certificates that TLS has not accepted: gRPC
/// does not tell why. Takes three seconds at most.
bool HasExpiredCertificate(const std::string& address);

}  // namespace cbrgateway
