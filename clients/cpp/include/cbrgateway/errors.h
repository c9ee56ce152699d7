/// Why a call failed, and what to do about it.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <google/protobuf/any.pb.h>
#include <google/rpc/error_details.pb.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "cbrgateway/v1/errors.pb.h"

namespace cbrgateway {

/// Who ended a call.
enum class Kind {
  kAnswered,     ///< The gateway did, with a reason.
  kUnreachable,  ///< Nobody answers at the address, or the connection broke.
  kUntrusted,    ///< The gateway's certificate is not of an authority that is trusted here, or not for this address.
  kExpiredCertificate,  ///< The gateway's certificate is out of date, or not valid yet.
  kPlaintextExpected,   ///< The port speaks plain text, and was called with TLS.
  kTlsExpected,         ///< The port speaks TLS, and was called in plain text.
  kDeadline,     ///< The time of the call was over before the gateway answered.
  kOther,        ///< Something else, such as a cancelled call.
};

/// Writes `answered`, `unreachable`, `expired_certificate` and so on.
std::ostream& operator<<(std::ostream& out, Kind kind);

/// What the status of a failed call says, unpacked. It can be thrown; `what()` is a text for people: what happened, what to do, and the ids to repeat a
/// change and to ask with.
struct Error : std::exception {
  /// The status must not be OK. Where TLS did not accept the gateway's certificate this looks at it once more, for three seconds at most: gRPC does not
  /// tell one that has expired from others.
  explicit Error(const grpc::Status& status) : Error(status, {}) {}

  /// How a Wait ends whose time is up.
  Error(const grpc::Status& status, std::vector<std::string> open);

  const char* what() const noexcept override { return text_.c_str(); }

  Kind kind = Kind::kOther;
  grpc::StatusCode code;
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;  ///< OTHER for one that is newer than this package.
  std::string reason_name;                                ///< The gateway's own word, such as `VAULT_NOT_FOUND`; also where `reason` is OTHER.
  std::string message;
  std::vector<google::rpc::BadRequest::FieldViolation> fields;
  std::vector<google::rpc::PreconditionFailure::Violation> preconditions;
  std::vector<google::rpc::QuotaFailure::Violation> quotas;
  std::optional<google::rpc::ResourceInfo> resource;
  std::chrono::nanoseconds retry_delay{0};      ///< How long to wait before a repeat; zero where the gateway did not say.
  std::string request_id;                       ///< Of a change: repeat it with this id to learn what became of it.
  std::string call_id;                          ///< The gateway's id of this call, for its operator.
  std::map<std::string, std::string> metadata;  ///< Facts of the ErrorInfo, such as `sent` and `attempts`.
  std::vector<std::string> still_open;          ///< Of a Wait whose time was up: tasks that have not ended, and submissions whose tasks are not all known.

 private:
  void Add(const google::protobuf::Any& detail);
  void Add(const google::rpc::ErrorInfo& info);
  std::string Text() const;

  std::string text_;
};

/// Makes a call, and again after the delay that the gateway asks for, as long as a limit of the gateway refuses it and the deadline allows. Each try gets a
/// context of its own, with the deadline.
///
/// The function makes one call, in the thread in which it runs. If that is a change without a request_id, all tries get the same one: the change may have
/// been made already, when its answer was lost and a limit refused gRPC's own repeat. Two changes in one function would share the id.
///
///     RetryWhenLimited(deadline, [&](grpc::ClientContext* context) { return vaults->ListVaults(context, request, &response); });
grpc::Status RetryWhenLimited(std::chrono::system_clock::time_point deadline, const std::function<grpc::Status(grpc::ClientContext*)>& call);

}  // namespace cbrgateway
