#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include <cbrgateway/pages.h>
#include <cbrgateway/v1/protection.pb.h>
#include <cbrgateway/v1/task.pb.h>
#include <cbrgateway/v1/vault.grpc.pb.h>
#include <gtest/gtest.h>

#include "stage.h"

namespace cbrgateway {
namespace {

using v1::VaultService;

v1::ListVaultsRequest List(const std::string& name) {
  v1::ListVaultsRequest request;
  request.set_name(name);
  return request;
}

TEST(Pages, OfTheScript) {
  const auto vaults = VaultService::NewStub(Connect(Given("SCRIPT_ADDRESS"), {.plaintext = true}));
  for (const auto prefetch : {Prefetch::kNo, Prefetch::kYes}) {
    std::string found;
    for (const auto& vault : Rows<v1::Vault>(*vaults, &VaultService::Stub::ListVaults, List("pages"), prefetch)) {
      found += vault.id() + " ";
    }
    EXPECT_EQ(found, "one two three ");
    std::vector<int> sizes;
    for (const auto& page : Pages(*vaults, &VaultService::Stub::ListVaults, List("pages"), prefetch)) {
      sizes.push_back(page.vaults_size());
    }
    EXPECT_EQ(sizes, (std::vector{2, 0, 1}));
  }
  try {
    Rows<v1::Vault>(*vaults, &VaultService::Stub::ListVaults, List("other")).begin();
    ADD_FAILURE() << "the script refuses it";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, v1::ERROR_REASON_STATE_INVALID) << error.what();
  }
  EXPECT_THROW(Rows<v1::Task>(*vaults, &VaultService::Stub::ListVaults, List("pages")), std::invalid_argument);
}

TEST(Pages, OfTheGateway) {
  const auto vaults = VaultService::NewStub(Connected());
  for (const auto* name : {"cpp-pages-1", "cpp-pages-2"}) {
    Call(*vaults, &VaultService::Stub::CreateVault, NewVault(name));
  }
  const auto at_once = Call(*vaults, &VaultService::Stub::ListVaults, {});
  v1::ListVaultsRequest one_by_one;
  one_by_one.set_page_size(1);
  std::vector<std::string> wanted;
  std::vector<std::string> found;
  for (const auto& vault : at_once.vaults()) {
    wanted.push_back(vault.id());
  }
  for (const auto& vault : Rows<v1::Vault>(*vaults, &VaultService::Stub::ListVaults, one_by_one)) {
    found.push_back(vault.id());
  }
  std::sort(wanted.begin(), wanted.end());
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, wanted);
  for (const auto& vault : at_once.vaults()) {
    if (vault.name().starts_with("cpp-pages")) {
      v1::DeleteVaultRequest same;
      same.set_vault_id(vault.id());
      Call(*vaults, &VaultService::Stub::DeleteVault, same);
    }
  }
  Passed("pages");
}

/// A list without an end; or one that stands still.
struct Endless {
  grpc::Status ListVaults(grpc::ClientContext*, const v1::ListVaultsRequest& request, v1::ListVaultsResponse* page) {
    ++asked;
    page->add_vaults()->set_id(request.page_token());
    page->set_next_page_token(stands ? "same" : request.page_token() + "-");
    return grpc::Status::OK;
  }

  std::atomic<int> asked = 0;
  bool stands = false;
};

TEST(Pages, AsksForOneAheadAndNoMore) {
  Endless endless;
  {
    Pages pages(endless, &Endless::ListVaults, {}, Prefetch::kYes);
    v1::ListVaultsResponse page;
    EXPECT_TRUE(pages.Next(&page) && pages.Next(&page));
    EXPECT_EQ(page.vaults(0).id(), "-");
  }
  EXPECT_EQ(endless.asked, 3);
  endless.stands = true;
  Pages pages(endless, &Endless::ListVaults, {});
  v1::ListVaultsResponse page;
  EXPECT_TRUE(pages.Next(&page));
  EXPECT_THROW(pages.Next(&page), Error);
  EXPECT_FALSE(pages.Next(&page));
}

TEST(Pages, TheRowsAreTheFirstList) {
  EXPECT_EQ(RowsField(*v1::GenerateReportResponse::descriptor()).name(), "rows");
  EXPECT_THROW(RowsField(*v1::GetVaultRequest::descriptor()), std::invalid_argument);
}

}  // namespace
}  // namespace cbrgateway
