#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <cbrgateway/client.h>
#include <cbrgateway/v1/vault.grpc.pb.h>
#include <gtest/gtest.h>

#include "stage.h"

namespace cbrgateway {
namespace {

using v1::VaultService;

Options Trusting() { return {.authorities = ReadFile(Given("CA_FILE"))}; }

grpc::Status List(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::ListVaultsRequest request;
  request.set_name("pages");
  v1::ListVaultsResponse response;
  return VaultService::NewStub(channel)->ListVaults(&context, request, &response);
}

Error Failed(const grpc::Status& status, const std::string& words) {
  Error error(status);
  EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << words << " is not in: " << error.what();
  return error;
}

void Write(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

TEST(Connection, ClientCertificate) {
  const std::string address = Given("MUTUAL_ADDRESS");
  const auto refused = Failed(List(Connect(address, Trusting())), "certificate of the caller");
  EXPECT_EQ(refused.kind, Kind::kUnreachable);
  auto options = Trusting();
  options.certificate = ReadFile(Given("CERTIFICATE_FILE"));
  options.key = ReadFile(Given("KEY_FILE"));
  const auto given = List(Connect(address, options));
  EXPECT_TRUE(given.ok()) << given.error_message();

  const std::string folder = std::filesystem::temp_directory_path() / ("cbrgateway-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const Options files{.authorities_file = Given("CA_FILE"), .certificate_file = folder + "/certificate", .key_file = folder + "/key"};
  Write(files.certificate_file, ReadFile(Given("OTHER_CERTIFICATE_FILE")));
  Write(files.key_file, ReadFile(Given("OTHER_KEY_FILE")));
  const auto channel = Connect(address, files);
  EXPECT_FALSE(List(channel).ok()) << "it is of an authority that is not trusted";
  Write(files.certificate_file, ReadFile(Given("CERTIFICATE_FILE")));
  Write(files.key_file, ReadFile(Given("KEY_FILE")));
  grpc::Status again = List(channel);
  for (int attempt = 0; attempt < 240 && !again.ok(); ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    again = List(channel);
  }
  EXPECT_TRUE(again.ok()) << again.error_message();
  std::filesystem::remove_all(folder);
  Passed("client-certificate");
}

TEST(Connection, Kinds) {
  auto stranger = Trusting();
  stranger.authorities = ReadFile(Given("OTHER_CA_FILE"));
  EXPECT_EQ(Failed(List(Connect(Given("EXPIRED_ADDRESS"), Trusting())), "operator renews it").kind, Kind::kExpiredCertificate);
  EXPECT_EQ(Failed(List(Connect(Given("SCRIPT_ADDRESS"), Trusting())), "Call with plaintext").kind, Kind::kPlaintextExpected);
  EXPECT_EQ(Failed(List(Connect(Given("ADDRESS"), {.plaintext = true})), "Leave out plaintext").kind, Kind::kTlsExpected);
  EXPECT_EQ(Failed(List(Connect(Given("ADDRESS"), stranger)), "Name the authorities").kind, Kind::kUntrusted);
  EXPECT_EQ(Failed(List(Connect("nowhere.invalid:50051", {.plaintext = true})), "Check the host name").kind, Kind::kUnreachable);
  Passed("kinds");
}

TEST(Connection, AnErrorHasWhatToRepeatWith) {
  v1::CreateVaultRequest request;
  request.mutable_vault()->set_name("cpp<>");
  request.set_request_id("cpp-broken");
  v1::CreateVaultResponse response;
  grpc::ClientContext context;
  const auto error = Failed(VaultService::NewStub(Connected())->CreateVault(&context, request, &response), "request_id cpp-broken");
  EXPECT_NE(std::string(error.what()).find("call " + error.call_id), std::string::npos) << error.what();
  EXPECT_GT(error.fields.size(), 1U);
  for (const auto& field : error.fields) {
    EXPECT_NE(std::string(error.what()).find(field.field()), std::string::npos) << error.what();
  }
}

/// Notes which calls it sees, and whether they have a credential.
class Spy final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  Spy(std::string name, std::vector<std::string>* seen) : name_(std::move(name)), seen_(seen) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo*) override { return new Note(*this); }

 private:
  struct Note final : grpc::experimental::Interceptor {
    explicit Note(const Spy& made_by) : spy(made_by) {}

    void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
      if (batch->QueryInterceptionHookPoint(grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
        spy.seen_->push_back(spy.name_ + (batch->GetSendInitialMetadata()->contains("authorization") ? " knows" : " does not know"));
      }
      batch->Proceed();
    }

    const Spy& spy;
  };

  const std::string name_;
  std::vector<std::string>* const seen_;
};

TEST(Connection, InterceptorsAndArguments) {
  std::vector<std::string> seen;
  auto options = Trusted();
  options.interceptors = {std::make_shared<Spy>("first", &seen), std::make_shared<Spy>("second", &seen)};
  options.arguments = [](grpc::ChannelArguments& arguments) { arguments.SetMaxReceiveMessageSize(1); };
  EXPECT_EQ(List(Connected(options)).error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_EQ(seen, (std::vector<std::string>{"first knows", "second knows"}));
  options.arguments = [](grpc::ChannelArguments& arguments) { arguments.SetSslTargetNameOverride("elsewhere.example"); };
  EXPECT_EQ(Failed(List(Connected(options)), "certificate").kind, Kind::kUntrusted);
}

TEST(Connection, CredentialsThatDoNotGoTogether) {
  const std::string pem = ReadFile(Given("CA_FILE"));
  EXPECT_THROW(Connect("gateway:50051", {.certificate = pem}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.certificate = pem, .key = "none"}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.authorities = pem, .certificate_file = Given("CERTIFICATE_FILE"), .key_file = Given("KEY_FILE")}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.certificate_file = "/nowhere", .key_file = Given("KEY_FILE")}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.authorities = pem, .credentials = grpc::SslCredentials({})}), std::invalid_argument);
  EXPECT_THROW(Connect("gateway:50051", {.credentials = grpc::SslCredentials({}), .plaintext = true}), std::invalid_argument);
  const auto status = List(Connect(Given("ADDRESS"), {.api_key = Given("API_KEY"), .credentials = grpc::SslCredentials({pem, {}, {}})}));
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace cbrgateway
