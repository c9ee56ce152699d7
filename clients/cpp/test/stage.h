/// What all tests share: the environment of the frame (clients/README.md), and what is made from it.
#pragma once

#include <memory>
#include <string>

#include <cbrgateway/client.h>
#include <cbrgateway/v1/vault.pb.h>

namespace cbrgateway {

/// The variable CBR_TEST_<name>.
std::string Given(const std::string& name);

std::string ReadFile(const std::string& path);

/// Notes that a check has passed, unless the test has failed.
void Passed(const std::string& check);

/// Options for the gateway under test, with a key.
Options Trusted();

std::shared_ptr<grpc::Channel> Connected(const Options& options = Trusted());

/// Tells the stage what to do: a path with a query. Throws std::runtime_error if it does not do it.
std::string Ask(const std::string& what);

/// A vault that holds a server.
v1::Vault ProtectedVault(const std::shared_ptr<grpc::Channel>& channel, const std::string& name);

v1::CreateVaultRequest NewVault(const std::string& name, int size_gib = 100);

}  // namespace cbrgateway
