// The life of a backup: a vault for a server, a backup, a restore, and nothing left behind.
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

#include <cbrgateway/client.h>
#include <cbrgateway/pages.h>
#include <cbrgateway/v1/backup.grpc.pb.h>
#include <cbrgateway/v1/checkpoint.grpc.pb.h>
#include <cbrgateway/v1/protectability.grpc.pb.h>
#include <cbrgateway/v1/vault.grpc.pb.h>
#include <cbrgateway/wait.h>

namespace cbr = cbrgateway::v1;
using cbrgateway::Call;
using Channel = std::shared_ptr<grpc::Channel>;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Channel Connect() {
  cbrgateway::Options options{.api_key = Variable("CBR_API_KEY")};
  if (const auto path = Variable("CBR_CA_FILE"); path.empty()) {
    options.plaintext = true;
  } else {
    std::ifstream file(path);
    options.authorities = {std::istreambuf_iterator(file), {}};
  }
  return cbrgateway::Connect(Variable("CBR_ADDRESS"), options);
}

cbr::Protectable FreeServer(const Channel& channel) {
  cbr::ListProtectablesRequest servers;
  servers.set_protectable_type(cbr::PROTECTABLE_TYPE_SERVER);
  const auto stub = cbr::ProtectabilityService::NewStub(channel);
  for (const auto& server : cbrgateway::Rows<cbr::Protectable>(*stub, &cbr::ProtectabilityService::Stub::ListProtectables, servers)) {
    if (server.protectable().result() && !server.protectable().has_vault()) {
      return server;
    }
  }
  throw std::runtime_error("no server is free");
}

cbr::BillingSpec Billing() {
  cbr::BillingSpec billing;
  billing.set_size_gib(200);
  billing.set_object_type(cbr::OBJECT_TYPE_SERVER);
  billing.set_protect_type(cbr::PROTECT_TYPE_BACKUP);
  billing.set_consistent_level(cbr::CONSISTENT_LEVEL_CRASH_CONSISTENT);
  return billing;
}

// Makes a change, tells what has become of its work, and answers the change's own answer.
template <class Stub, class Request, class Response>
Response Finish(const Channel& channel, const std::string& title, Stub& stub, grpc::Status (Stub::*rpc)(grpc::ClientContext*, const Request&, Response*),
                const Request& request) {
  const auto [answer, ended] = cbrgateway::RunAndWait(channel, stub, rpc, request, std::chrono::system_clock::now() + std::chrono::minutes(2));
  for (const auto& left : ended.skipped) {
    std::cout << title << " skipped by CBR: " << left.id() << " " << left.code() << " " << left.reason() << std::endl;
  }
  for (const auto& task : ended.tasks) {
    std::cout << title << " " << cbr::TaskStatus_Name(task.status()) << std::endl;
  }
  return answer;
}

void Tell(const Channel& channel) {
  const auto vaults = cbr::VaultService::NewStub(channel);
  const auto checkpoints = cbr::CheckpointService::NewStub(channel);
  const auto backups = cbr::BackupService::NewStub(channel);

  const auto server = FreeServer(channel);
  cbr::CreateVaultRequest create;
  create.mutable_vault()->set_name("cpp-example");
  auto& resource = *create.mutable_vault()->add_resources();
  resource.set_id(server.id());
  resource.set_type(server.type());
  *create.mutable_vault()->mutable_billing() = Billing();
  const auto vault = Call(*vaults, &cbr::VaultService::Stub::CreateVault, create).vault();
  std::cout << "vault " << vault.id() << " holds " << server.name() << std::endl;

  cbr::CreateCheckpointRequest back_up;
  back_up.mutable_checkpoint()->set_vault_id(vault.id());
  const auto made = Finish(channel, "backup", *checkpoints, &cbr::CheckpointService::Stub::CreateCheckpoint, back_up);
  cbr::ListBackupsRequest of_checkpoint;
  of_checkpoint.set_checkpoint_id(made.checkpoint().id());
  const auto backup = Call(*backups, &cbr::BackupService::Stub::ListBackups, of_checkpoint).backups(0);
  std::cout << "backup " << backup.id() << std::endl;

  cbr::RestoreBackupRequest restore;
  restore.set_backup_id(backup.id());
  restore.mutable_restore()->set_server_id(server.id());
  Finish(channel, "restore", *backups, &cbr::BackupService::Stub::RestoreBackup, restore);

  cbr::DeleteVaultRequest clean_up;
  clean_up.set_vault_id(vault.id());
  clean_up.set_force(true);
  Finish(channel, "deletion", *vaults, &cbr::VaultService::Stub::DeleteVault, clean_up);
}

int main() {
  try {
    Tell(Connect());
  } catch (const std::exception& failure) {
    std::cerr << failure.what() << "\n";
    return 1;
  }
}
