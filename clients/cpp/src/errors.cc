#include "cbrgateway/errors.h"

#include <algorithm>
#include <thread>
#include <utility>

#include <absl/status/status.h>
#include <google/protobuf/util/time_util.h>
#include <google/rpc/status.pb.h>

#include "advice.h"
#include "explained.h"
#include "peer.h"
#include "request_id.h"

namespace cbrgateway {
namespace {

using google::protobuf::util::TimeUtil;

const char kOwnDomain[] = "cbrgateway-client";
const char kRequestId[] = "request_id";
const char kAddress[] = "address";
const char kPlaintext[] = "plaintext";

template <class Message>
std::optional<Message> Unpacked(const google::protobuf::Any& detail) {
  Message message;
  return detail.UnpackTo(&message) ? std::optional(message) : std::nullopt;
}

/// Whether a detail is what Explained adds.
bool IsOwn(const google::protobuf::Any& detail) {
  const auto info = Unpacked<google::rpc::ErrorInfo>(detail);
  return info && info->domain() == kOwnDomain;
}

/// What is said before gRPC's own words, where nobody answered.
std::string Told(Kind kind, const std::string& address) {
  const std::string gateway = "the gateway at " + address;
  switch (kind) {
    case Kind::kUnreachable:
      return gateway + " cannot be reached: ";
    case Kind::kUntrusted:
      return "the certificate of " + gateway + " is not trusted: ";
    case Kind::kExpiredCertificate:
      return "the certificate of " + gateway + " has expired, or is not valid yet: ";
    case Kind::kPlaintextExpected:
      return gateway + " speaks plain text, and was called with TLS: ";
    case Kind::kTlsExpected:
      return gateway + " closes connections in plain text, as one with TLS does: ";
    case Kind::kDeadline:
      return "the deadline passed before the gateway answered: ";
    default:
      return "";
  }
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
    case Kind::kExpiredCertificate:
      return out << "expired_certificate";
    case Kind::kPlaintextExpected:
      return out << "plaintext_expected";
    case Kind::kTlsExpected:
      return out << "tls_expected";
    case Kind::kDeadline:
      return out << "deadline";
    case Kind::kOther:
      break;
  }
  return out << "other";
}

Error::Error(const grpc::Status& status, std::vector<std::string> open)
    : kind(KindOf(status, /*plaintext=*/false)), code(status.error_code()), message(status.error_message()), still_open(std::move(open)) {
  google::rpc::Status packed;
  if (packed.ParseFromString(status.error_details())) {
    for (const auto& detail : packed.details()) {
      Add(detail);
    }
  }
  text_ = Text();
}

/// What happened; then every broken field, what to do, and the ids to repeat a change and to ask with.
std::string Error::Text() const {
  std::string text = message;
  if (kind == Kind::kAnswered) {
    text = absl::StatusCodeToString(static_cast<absl::StatusCode>(code)) + " " + reason_name + ": " + message;
  }
  for (const auto& field : fields) {
    text += fields.size() > 1 ? "\n  " + field.field() + ": " + field.description() : "";
  }
  if (const std::string advice = Advice(*this); !advice.empty()) {
    text += "\n  " + advice;
  }
  text += request_id.empty() ? "" : "\n  request_id " + request_id;
  text += call_id.empty() ? "" : "\n  call " + call_id;
  return text;
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
  if (info.domain() == kOwnDomain) {
    const auto fact = [&](const char* name) { return facts.contains(name) ? facts.at(name) : ""; };
    request_id = fact(kRequestId);
    kind = kind == Kind::kAnswered ? kind : KindOf(grpc::Status(code, message), facts.contains(kPlaintext));
    if (kind == Kind::kUntrusted && HasExpiredCertificate(fact(kAddress))) {
      kind = Kind::kExpiredCertificate;
    }
    return;
  }
  kind = Kind::kAnswered;
  reason_name = info.reason();
  reason = ReasonOf(info);
  metadata = facts;
}

v1::ErrorReason ReasonOf(const google::rpc::ErrorInfo& info) {
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
  return v1::ErrorReason_Parse("ERROR_REASON_" + info.reason(), &reason) ? reason : v1::ERROR_REASON_OTHER;
}

grpc::Status Explained(const grpc::Status& status, const Target& target, const std::string& request_id) {
  std::string message = status.error_message();
  google::rpc::Status packed;
  if (!packed.ParseFromString(status.error_details())) {
    return status;
  }
  // What a server has sent in our name is none of it.
  auto& details = *packed.mutable_details();
  details.erase(std::remove_if(details.begin(), details.end(), IsOwn), details.end());
  if (details.empty()) {
    message = Told(KindOf(status, target.plaintext), target.address) + message;
  }
  packed.set_code(status.error_code());
  packed.set_message(message);
  google::rpc::ErrorInfo own;
  own.set_domain(kOwnDomain);
  auto& facts = *own.mutable_metadata();
  facts[kRequestId] = request_id;
  facts[kAddress] = target.address;
  if (target.plaintext) {
    facts[kPlaintext] = "true";
  }
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
