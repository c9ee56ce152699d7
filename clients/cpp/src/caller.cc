#include "caller.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "request_id.h"

namespace cbrgateway {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::MessageFactory;
using google::protobuf::MethodDescriptor;
using google::protobuf::MethodOptions;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;

/// The RPC of `/package.Service/Method`, if it is a change that takes a request_id; otherwise null. In the request of a read the field is a filter.
const MethodDescriptor* IdentifiedChange(std::string method) {
  method.erase(0, 1);
  std::replace(method.begin(), method.end(), '/', '.');
  const MethodDescriptor* rpc = DescriptorPool::generated_pool()->FindMethodByName(method);
  const bool found = rpc && rpc->options().idempotency_level() != MethodOptions::NO_SIDE_EFFECTS && rpc->input_type()->FindFieldByName("request_id");
  return found ? rpc : nullptr;
}

/// Fills request_id where the caller did not, and answers it. Only what is sent changes: used again for another change, the caller's message must not carry
/// the id of this one.
std::string Identify(const MethodDescriptor& rpc, grpc::ByteBuffer* sent) {
  const std::unique_ptr<google::protobuf::Message> request(MessageFactory::generated_factory()->GetPrototype(rpc.input_type())->New());
  grpc::ProtoBufferReader reader(sent);
  request->ParseFromZeroCopyStream(&reader);
  const auto* field = rpc.input_type()->FindFieldByName("request_id");
  const auto* fields = request->GetReflection();
  if (std::string given = fields->GetString(*request, field); !given.empty()) {
    return given;
  }
  std::string id = NewRequestId();
  fields->SetString(request.get(), field, id);
  const grpc::Slice filled(request->SerializeAsString());
  *sent = grpc::ByteBuffer(&filled, 1);
  return id;
}

}  // namespace

class Caller::Interceptor final : public grpc::experimental::Interceptor {
 public:
  Interceptor(const Caller& caller, const char* method) : caller_(caller), change_(IdentifiedChange(method)) {}

  void Intercept(InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA) && !Introduce(batch)) {
      batch->Hijack();  // Nothing is sent; gRPC asks here again for what the call shall receive.
      return;
    }
    if (change_ && batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      request_id_ = Identify(*change_, batch->GetSerializedSendMessage());
    }
    if (refusal_ && batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_RECV_MESSAGE)) {
      batch->FailHijackedRecvMessage();
    }
    if (refusal_ && batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_RECV_STATUS)) {
      *batch->GetRecvStatus() = *refusal_;
    }
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_STATUS) && !batch->GetRecvStatus()->ok()) {
      *batch->GetRecvStatus() = Explained(*batch->GetRecvStatus(), caller_.target_, request_id_);
    }
    batch->Proceed();
  }

 private:
  /// Adds the caller's metadata. False, with the refusal set, if there is no token.
  bool Introduce(InterceptorBatchMethods* batch) {
    auto& metadata = *batch->GetSendInitialMetadata();
    if (!caller_.project_.empty()) {
      metadata.emplace("x-cbr-project-id", caller_.project_);
    }
    if (!caller_.bearer_) {
      return true;
    }
    try {
      const std::string bearer = caller_.bearer_();
      CheckHeader("the token", bearer);
      metadata.emplace("authorization", "Bearer " + bearer);
    } catch (const std::exception& failure) {
      Refuse(failure.what());
    } catch (...) {  // gRPC, through which it would fly, is not made for exceptions.
      Refuse("its source threw something that is no std::exception");
    }
    return !refusal_;
  }

  void Refuse(const std::string& why) { refusal_ = grpc::Status(grpc::UNAUTHENTICATED, "there is no token for the call: " + why); }

  const Caller& caller_;  // Lives as long as the channel, which each call holds.
  const MethodDescriptor* change_;
  std::string request_id_;
  std::optional<grpc::Status> refusal_;
};

Caller::Caller(Target target, std::function<std::string()> bearer, std::string project)
    : target_(std::move(target)), bearer_(std::move(bearer)), project_(std::move(project)) {}

grpc::experimental::Interceptor* Caller::CreateClientInterceptor(grpc::experimental::ClientRpcInfo* call) {
  return new Interceptor(*this, call->method());
}

void CheckHeader(std::string_view name, std::string_view value) {
  if (!std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; })) {
    throw std::invalid_argument(std::string(name) + " has a character that is not printable ASCII, such as a line break at its end");
  }
}

}  // namespace cbrgateway
