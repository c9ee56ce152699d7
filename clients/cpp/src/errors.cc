#include "cbrgateway/errors.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <thread>

#include <absl/status/status.h>
#include <absl/strings/ascii.h>
#include <google/protobuf/util/time_util.h>
#include <google/rpc/status.pb.h>

#include "explained.h"
#include "request_id.h"

namespace cbrgateway {
namespace {

using google::protobuf::util::TimeUtil;

const char kOwnDomain[] = "cbrgateway-client";
const char kRequestId[] = "request_id";

/// gRPC says it in words only: the certificate could not be verified, in the words of OpenSSL or BoringSSL, or the name of the peer is not in it. The word
/// certificate alone means nothing: newer versions of gRPC add "certificate verification context: OK" to any handshake that failed.
bool IsUntrusted(const std::string& message) {
  constexpr std::array<std::string_view, 3> kWords{"certificate verify failed", "certificate_verify_failed", "is not in peer certificate"};
  const std::string lower = absl::AsciiStrToLower(message);
  return std::any_of(kWords.begin(), kWords.end(), [&](std::string_view words) { return lower.find(words) != std::string::npos; });
}

Kind KindOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::DEADLINE_EXCEEDED:
      return Kind::kDeadline;
    case grpc::UNAVAILABLE:
      return IsUntrusted(status.error_message()) ? Kind::kUntrusted : Kind::kUnreachable;
    default:
      return Kind::kOther;
  }
}

template <class Message>
std::optional<Message> Unpacked(const google::protobuf::Any& detail) {
  Message message;
  return detail.UnpackTo(&message) ? std::optional(message) : std::nullopt;
}

template <class Repeated>
auto ToVector(const Repeated& list) {
  return std::vector(list.begin(), list.end());
}

}  // namespace

std::ostream& operator<<(std::ostream& out, Kind kind) {
  switch (kind) {
    case Kind::kAnswered:
      return out << "answered";
    case Kind::kUnreachable:
      return out << "unreachable";
    case Kind::kUntrusted:
      return out << "untrusted";
    case Kind::kDeadline:
      return out << "deadline";
    case Kind::kOther:
      break;
  }
  return out << "other";
}

Error::Error(const grpc::Status& status) : kind(KindOf(status)), code(status.error_code()), message(status.error_message()), text_(message) {
  google::rpc::Status packed;
  if (!packed.ParseFromString(status.error_details())) {
    return;
  }
  for (const auto& detail : packed.details()) {
    Add(detail);
  }
  if (kind == Kind::kAnswered) {
    text_ = absl::StatusCodeToString(static_cast<absl::StatusCode>(code)) + " " + reason_name + ": " + message + " (call " + call_id + ")";
  }
}

void Error::Add(const google::protobuf::Any& detail) {
  if (const auto info = Unpacked<google::rpc::ErrorInfo>(detail)) {
    Add(*info);
  } else if (const auto call = Unpacked<google::rpc::RequestInfo>(detail)) {
    call_id = call->request_id();
  } else if (const auto retry = Unpacked<google::rpc::RetryInfo>(detail)) {
    retry_delay = std::chrono::nanoseconds(TimeUtil::DurationToNanoseconds(retry->retry_delay()));
  } else if (const auto request = Unpacked<google::rpc::BadRequest>(detail)) {
    fields = ToVector(request->field_violations());
  } else if (const auto precondition = Unpacked<google::rpc::PreconditionFailure>(detail)) {
    preconditions = ToVector(precondition->violations());
  } else if (const auto quota = Unpacked<google::rpc::QuotaFailure>(detail)) {
    quotas = ToVector(quota->violations());
  } else if (const auto blamed = Unpacked<google::rpc::ResourceInfo>(detail)) {
    resource = *blamed;
  }
}

void Error::Add(const google::rpc::ErrorInfo& info) {
  const std::map<std::string, std::string> facts(info.metadata().begin(), info.metadata().end());
  if (const auto own = facts.find(kRequestId); info.domain() == kOwnDomain && own != facts.end()) {
    request_id = own->second;
    return;
  }
  kind = Kind::kAnswered;
  reason_name = info.reason();
  if (!v1::ErrorReason_Parse("ERROR_REASON_" + reason_name, &reason)) {
    reason = v1::ERROR_REASON_OTHER;
  }
  metadata = facts;
}

grpc::Status Explained(const grpc::Status& status, const std::string& address, const std::string& request_id) {
  std::string message = status.error_message();
  switch (Error(status).kind) {
    case Kind::kUnreachable:
      message = "the gateway at " + address + " cannot be reached: " + message;
      break;
    case Kind::kUntrusted:
      message = "the certificate of the gateway at " + address + " is not trusted: " + message;
      break;
    case Kind::kDeadline:
      message = "the deadline passed before the gateway answered: " + message;
      break;
    default:
      break;
  }
  google::rpc::Status packed;
  if (request_id.empty() || !packed.ParseFromString(status.error_details())) {
    return {status.error_code(), message, status.error_details()};
  }
  packed.set_code(status.error_code());
  packed.set_message(message);
  google::rpc::ErrorInfo own;
  own.set_domain(kOwnDomain);
  (*own.mutable_metadata())[kRequestId] = request_id;
  packed.add_details()->PackFrom(own);
  return {status.error_code(), message, packed.SerializeAsString()};
}

grpc::Status RetryWhenLimited(std::chrono::system_clock::time_point deadline, const std::function<grpc::Status(grpc::ClientContext*)>& call) {
  const SharedRequestId of_all_tries;
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    const grpc::Status status = call(&context);
    if (status.error_code() != grpc::RESOURCE_EXHAUSTED) {
      return status;
    }
    const auto delay = Error(status).retry_delay;
    const auto now = std::chrono::system_clock::now();
    if (delay <= delay.zero() || deadline <= now || deadline - now < delay) {
      return status;
    }
    std::this_thread::sleep_for(delay);
  }
}

}  // namespace cbrgateway
