#include "stage.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <cbrgateway/v1/protectability.grpc.pb.h>
#include <cbrgateway/v1/vault.grpc.pb.h>
#include <gtest/gtest.h>

namespace cbrgateway {
namespace {

/// One exchange with a port of this machine; answers all that came back.
std::string Exchange(int port, const std::string& request) {
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  const timeval limit{.tv_sec = 60, .tv_usec = 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string reply;
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(connection, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size())) {
    std::array<char, 4096> part{};
    for (ssize_t size; (size = recv(connection, part.data(), part.size(), 0)) > 0;) {
      reply.append(part.data(), static_cast<std::size_t>(size));
    }
  }
  close(connection);
  return reply;
}

}  // namespace

std::string Given(const std::string& name) {
  const char* value = std::getenv(("CBR_TEST_" + name).c_str());
  if (!value) {
    throw std::runtime_error("CBR_TEST_" + name + " is not set: the tests are run by `make test-clients`");
  }
  return value;
}

std::string ReadFile(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

void Passed(const std::string& check) {
  if (!testing::Test::HasFailure()) {
    ASSERT_TRUE(std::ofstream(Given("RESULTS") + "/" + check));
  }
}

Options Trusted() { return {.api_key = Given("API_KEY"), .authorities = ReadFile(Given("CA_FILE"))}; }

std::shared_ptr<grpc::Channel> Connected(const Options& options) { return Connect(Given("ADDRESS"), options); }

std::string Ask(const std::string& what) {
  const std::string url = Given("CONTROL");
  const int port = std::stoi(url.substr(url.rfind(':') + 1));
  const std::string reply = Exchange(port, "POST " + what + " HTTP/1.0\r\n\r\n");
  const auto body = reply.find("\r\n\r\n");
  if (reply.find(" 200 ") == std::string::npos || body == std::string::npos) {
    throw std::runtime_error(what + ": " + reply);
  }
  return reply.substr(body + 4);
}

v1::Vault ProtectedVault(const std::shared_ptr<grpc::Channel>& channel, const std::string& name) {
  using v1::ProtectabilityService;
  v1::ListProtectablesRequest servers;
  servers.set_protectable_type(v1::PROTECTABLE_TYPE_SERVER);
  const auto server = Call(*ProtectabilityService::NewStub(channel), &ProtectabilityService::Stub::ListProtectables, servers).instances(0);
  auto request = NewVault(name, 200);
  auto& resource = *request.mutable_vault()->add_resources();
  resource.set_id(server.id());
  resource.set_type(server.type());
  return Call(*v1::VaultService::NewStub(channel), &v1::VaultService::Stub::CreateVault, request).vault();
}

v1::CreateVaultRequest NewVault(const std::string& name, int size_gib) {
  v1::CreateVaultRequest request;
  request.mutable_vault()->set_name(name);
  auto& billing = *request.mutable_vault()->mutable_billing();
  billing.set_size_gib(size_gib);
  billing.set_object_type(v1::OBJECT_TYPE_SERVER);
  billing.set_protect_type(v1::PROTECT_TYPE_BACKUP);
  billing.set_consistent_level(v1::CONSISTENT_LEVEL_CRASH_CONSISTENT);
  return request;
}

}  // namespace cbrgateway
