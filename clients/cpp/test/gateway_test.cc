#include <chrono>
#include <future>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include <cbrgateway/client.h>
#include <cbrgateway/v1/vault.grpc.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include "../src/explained.h"
#include "stage.h"

namespace cbrgateway {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;
using v1::VaultService;

grpc::Status ListVaults(const std::shared_ptr<grpc::Channel>& channel, seconds time = seconds(60)) {
  grpc::ClientContext context;
  context.set_deadline(system_clock::now() + time);
  v1::ListVaultsResponse response;
  return VaultService::NewStub(channel)->ListVaults(&context, {}, &response);
}

/// The error of a call that must fail with this code, after a look for words in its text.
Error Failed(const grpc::Status& status, grpc::StatusCode code, std::initializer_list<std::string> words) {
  Error error(status);
  EXPECT_EQ(error.code, code) << error.what();
  for (const auto& word : words) {
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " is not in: " << error.what();
  }
  return error;
}

TEST(Gateway, Unary) {
  const auto vaults = VaultService::NewStub(Connected());
  const auto made = Call(*vaults, &VaultService::Stub::CreateVault, NewVault("cpp-unary"));
  v1::GetVaultRequest one;
  one.set_vault_id(made.vault().id());
  EXPECT_EQ(Call(*vaults, &VaultService::Stub::GetVault, one).vault().name(), "cpp-unary");
  EXPECT_GT(Call(*vaults, &VaultService::Stub::ListVaults, {}).vaults_size(), 0);
  v1::DeleteVaultRequest same;
  same.set_vault_id(made.vault().id());
  Call(*vaults, &VaultService::Stub::DeleteVault, same);
  Passed("unary");
}

TEST(Gateway, Token) {
  auto options = Trusted();
  options.api_key.clear();
  options.token = [] { return Given("TOKEN"); };
  const auto status = ListVaults(Connected(options));
  EXPECT_TRUE(status.ok()) << status.error_message();
  Passed("token");
}

TEST(Gateway, TokenThatIsNotThere) {
  auto options = Trusted();
  options.api_key.clear();
  options.token = []() -> std::string { throw std::runtime_error("the issuer is on holiday"); };
  const auto error = Failed(ListVaults(Connected(options)), grpc::UNAUTHENTICATED, {"no token", "on holiday"});
  EXPECT_EQ(error.kind, Kind::kOther);
  options.token = [] { return "secret\n"; };
  const std::string refused = Failed(ListVaults(Connected(options)), grpc::UNAUTHENTICATED, {"the token", "line break"}).what();
  EXPECT_EQ(refused.find("secret"), std::string::npos) << refused;
  options.token = []() -> std::string { throw 42; };
  Failed(ListVaults(Connected(options)), grpc::UNAUTHENTICATED, {"no token"});
}

TEST(Gateway, OptionsThatCannotWork) {
  EXPECT_THROW(Connect("", {.api_key = "key"}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.api_key = "key", .token = [] { return "token"; }}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.api_key = "key\n"}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.api_key = "schl\u00fcssel"}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.authorities = "/etc/ssl/ca.pem"}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.authorities = ReadFile(Given("CA_FILE")), .plaintext = true}), std::invalid_argument);
}

TEST(Gateway, Error) {
  v1::CreateVaultResponse response;
  grpc::ClientContext context;
  const auto status = VaultService::NewStub(Connected())->CreateVault(&context, NewVault("cpp-error", 5), &response);
  const auto error = Failed(status, grpc::INVALID_ARGUMENT, {"INVALID_ARGUMENT", "FIELD_INVALID"});
  EXPECT_EQ(error.kind, Kind::kAnswered);
  EXPECT_EQ(error.reason, v1::ERROR_REASON_FIELD_INVALID);
  EXPECT_EQ(error.reason_name, "FIELD_INVALID");
  EXPECT_NE(error.call_id, "");
  EXPECT_NE(error.request_id, "");
  EXPECT_TRUE(error.fields.size() == 1 && error.fields[0].field() == "vault.billing.size_gib") << error.what();
  Passed("error");
}

TEST(Gateway, Retry) {
  Ask("/fault?operation=CreateVault&kind=cut&when=after_commit&times=1");
  const auto vaults = VaultService::NewStub(Connected());
  const auto request = NewVault("cpp-retry");
  EXPECT_EQ(Call(*vaults, &VaultService::Stub::CreateVault, request).vault().name(), "cpp-retry");
  EXPECT_EQ(Ask("/requests?operation=CreateVault&containing=cpp-retry"), "1");
  EXPECT_EQ(request.request_id(), "");
  Passed("retry");
}

TEST(Gateway, RequestIdWithCallbacks) {
  const auto vaults = VaultService::NewStub(Connected());
  const auto request = NewVault("cpp-callback", 5);
  v1::CreateVaultResponse response;
  grpc::ClientContext context;
  std::promise<grpc::Status> done;
  vaults->async()->CreateVault(&context, &request, &response, [&](grpc::Status status) { done.set_value(std::move(status)); });
  EXPECT_NE(Failed(done.get_future().get(), grpc::INVALID_ARGUMENT, {}).request_id, "");
}

TEST(Gateway, OwnRequestId) {
  auto request = NewVault("cpp-own-id", 5);
  request.set_request_id("of-the-caller");
  v1::CreateVaultResponse response;
  grpc::ClientContext context;
  const auto status = VaultService::NewStub(Connected())->CreateVault(&context, request, &response);
  EXPECT_EQ(Failed(status, grpc::INVALID_ARGUMENT, {}).request_id, "of-the-caller");
}

TEST(Gateway, Quota) {
  auto options = Trusted();
  options.api_key = Given("LIMITED_KEY");
  const auto channel = Connected(options);
  grpc::Status status;
  for (int i = 0; i < 50 && status.ok(); ++i) {
    status = ListVaults(channel);
  }
  const auto error = Failed(status, grpc::RESOURCE_EXHAUSTED, {"RATE_LIMIT"});
  EXPECT_GT(error.retry_delay, error.retry_delay.zero());
  EXPECT_TRUE(error.quotas.size() == 1 && error.quotas[0].quota_metric() == "requests") << error.what();
  const auto began = std::chrono::steady_clock::now();
  const auto vaults = VaultService::NewStub(channel);
  v1::ListVaultsResponse response;
  status = RetryWhenLimited(system_clock::now() + seconds(30), [&](grpc::ClientContext* context) { return vaults->ListVaults(context, {}, &response); });
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_GE(std::chrono::steady_clock::now() - began, error.retry_delay / 2);
  Passed("quota");
}

TEST(Gateway, RetryLarge) {
  const auto vaults = VaultService::NewStub(Connect(Given("SCRIPT_ADDRESS"), {.plaintext = true}));
  auto request = NewVault("cpp-large");
  request.mutable_vault()->set_description(std::string(1 << 20, 'x'));
  EXPECT_EQ(Call(*vaults, &VaultService::Stub::CreateVault, request).vault().id(), "made");
  Passed("retry-large");
}

TEST(Gateway, RetryWhenLimited) {
  const auto vaults = VaultService::NewStub(Connect(Given("SCRIPT_ADDRESS"), {.plaintext = true}));
  const auto request = NewVault("cpp-limited");
  v1::CreateVaultResponse response;
  const auto status = RetryWhenLimited(system_clock::now() + seconds(30), [&](auto* context) { return vaults->CreateVault(context, request, &response); });
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.vault().id(), "made");
  Passed("retry-when-limited");
}

TEST(Gateway, WrongKey) {
  auto options = Trusted();
  options.api_key = "nobody's";
  Failed(ListVaults(Connected(options)), grpc::UNAUTHENTICATED, {"CREDENTIALS_INVALID", "API key"});
  Passed("wrong-key");
}

TEST(Gateway, WrongCa) {
  auto options = Trusted();
  options.authorities = ReadFile(Given("OTHER_CA_FILE"));
  const auto error = Failed(ListVaults(Connected(options)), grpc::UNAVAILABLE, {"certificate", Given("ADDRESS")});
  EXPECT_EQ(error.kind, Kind::kUntrusted);
  Passed("wrong-ca");
}

TEST(Gateway, DetailsInTheNameOfThisPackage) {
  google::rpc::ErrorInfo forged;
  forged.set_domain("cbrgateway-client");
  google::rpc::Status packed;
  packed.add_details()->PackFrom(forged);
  const grpc::Status status(grpc::UNAVAILABLE, "certificate verify failed", packed.SerializeAsString());
  EXPECT_EQ(Error(status).request_id, "");
  (*forged.mutable_metadata())["request_id"] = "forged";
  packed.mutable_details(0)->PackFrom(forged);
  const grpc::Status named(grpc::NOT_FOUND, "gone", packed.SerializeAsString());
  EXPECT_EQ(Error(Explained(named, {.address = "gateway:50051"}, "ours")).request_id, "ours");
}

TEST(Gateway, CertificateInWords) {
  const auto kind = [](const std::string& words) { return Error(grpc::Status(grpc::UNAVAILABLE, words)).kind; };
  EXPECT_EQ(kind("SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"), Kind::kUntrusted);
  EXPECT_EQ(kind("SSL_ERROR_SSL: error:0A000086:SSL routines::certificate verify failed"), Kind::kUntrusted);
  EXPECT_EQ(kind("Peer name gateway is not in peer certificate"), Kind::kUntrusted);
  EXPECT_EQ(kind("OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid certificate verification context: OK"), Kind::kPlaintextExpected);
}

TEST(Gateway, Unreachable) {
  const auto channel = Connect(Given("CLOSED_ADDRESS"), {.api_key = Given("API_KEY"), .plaintext = true});
  const auto error = Failed(ListVaults(channel), grpc::UNAVAILABLE, {"cannot be reached", Given("CLOSED_ADDRESS")});
  EXPECT_EQ(error.kind, Kind::kUnreachable);
  Passed("unreachable");
}

TEST(Gateway, Deadline) {
  Ask("/fault?operation=ListVault&kind=delay&seconds=4&times=null");
  Failed(ListVaults(Connected(), seconds(1)), grpc::DEADLINE_EXCEEDED, {"deadline"});
  Ask("/calm");
  Passed("deadline");
}

}  // namespace
}  // namespace cbrgateway
