#include "advice.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include <absl/strings/ascii.h>

namespace cbrgateway {
namespace {

const char kCredential[] = "Check the credential, or ask the gateway's operator for one.";
const char kOtherProtocol[] =
    "The port speaks another protocol, such as the admin port: use that of the services, 50051 unless the gateway is told otherwise.";
const char kNotThisApi[] =
    "What answers at this address does not have the RPC: it may be the health port (50052 unless told otherwise; the services are at 50051), another "
    "service, or an older gateway.";
const char kChange[] =
    "It is not known whether the change was made: make it again with the same request_id, and it is made once. Give it more time (set_deadline), and check "
    "address and port.";

/// Whether one of the words, in lower case, is in the text.
bool Has(const std::string& text, std::initializer_list<std::string_view> words) {
  const std::string lower = absl::AsciiStrToLower(text);
  return std::any_of(words.begin(), words.end(), [&](std::string_view each) { return lower.find(each) != std::string::npos; });
}

/// A port with TLS says nothing to who speaks plain text, and a gateway nothing of a certificate that it does not want: they close each new connection.
bool IsClosedAtOnce(const std::string& text) { return Has(text, {"failed to connect"}) && Has(text, {"socket closed", "connection reset"}); }

/// The word certificate alone means nothing: newer versions of gRPC add "certificate verification context: OK" to any handshake that failed.
Kind OfTls(const std::string& text) {
  if (Has(text, {"certificate has expired", "certificate is not yet valid", "certificate_expired"})) {
    return Kind::kExpiredCertificate;
  }
  if (Has(text, {"certificate verify failed", "certificate_verify_failed", "is not in peer certificate", "hostname verification check failed"})) {
    return Kind::kUntrusted;
  }
  return Has(text, {"wrong version number", "wrong_version_number", "packet length too long", "http request"}) ? Kind::kPlaintextExpected
                                                                                                              : Kind::kUnreachable;
}

std::string OfConnection(const std::string& text) {
  if (Has(text, {"failed parsing http", "http1.x server"})) {
    return kOtherProtocol;
  }
  if (Has(text, {"dns resolution failed", "errors resolving"})) {
    return "Check the host name in the address.";
  }
  if (IsClosedAtOnce(text)) {
    return "The gateway may want a certificate of the caller (certificate and key), or another one than it got; or it is just starting.";
  }
  return "Check host and port of the address, and that the gateway runs there.";
}

}  // namespace

Kind KindOf(const grpc::Status& status, bool plaintext) {
  switch (status.error_code()) {
    case grpc::DEADLINE_EXCEEDED:
      return Kind::kDeadline;
    case grpc::UNAVAILABLE:
      if (plaintext) {
        return IsClosedAtOnce(status.error_message()) ? Kind::kTlsExpected : Kind::kUnreachable;
      }
      return OfTls(status.error_message());
    default:
      return Kind::kOther;
  }
}

std::string Advice(const Error& error) {
  switch (error.kind) {
    case Kind::kAnswered:
      return error.reason == v1::ERROR_REASON_CREDENTIALS_INVALID ? kCredential : "";
    case Kind::kUnreachable:
      return OfConnection(error.message);
    case Kind::kUntrusted:
      return "Name the authorities that vouch for the gateway (authorities), and call it by a name that its certificate has.";
    case Kind::kExpiredCertificate:
      return "It has expired, or is not valid yet: the gateway's operator renews it; if it is good, look at the clock of this machine.";
    case Kind::kPlaintextExpected:
      return "Call with plaintext, or the port of a gateway with TLS.";
    case Kind::kTlsExpected:
      return "Leave out plaintext; if the gateway has no TLS, look whether it still runs.";
    case Kind::kDeadline:
      if (!error.still_open.empty()) {
        return "";
      }
      return error.request_id.empty() ? "Give the call more time (set_deadline), and check address and port." : kChange;
    case Kind::kOther:
      break;
  }
  return error.code == grpc::UNIMPLEMENTED ? kNotThisApi : "";
}

}  // namespace cbrgateway
