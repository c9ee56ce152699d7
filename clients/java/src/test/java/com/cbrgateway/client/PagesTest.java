package com.cbrgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.cbrgateway.v1.GetVaultRequest;
import com.cbrgateway.v1.ListVaultsRequest;
import com.cbrgateway.v1.ListVaultsResponse;
import com.cbrgateway.v1.Vault;
import com.cbrgateway.v1.VaultServiceGrpc;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.List;
import org.junit.jupiter.api.Test;

class PagesTest {
  private static final ListVaultsRequest LIST = ListVaultsRequest.getDefaultInstance();

  private static List<String> ids(Pages<ListVaultsResponse> pages) {
    return pages.rows(ListVaultsResponse::getVaultsList).map(Vault::getId).toList();
  }

  @Test
  void pages() throws Exception {
    try (Gateway script = Gateway.at(Stage.get("SCRIPT_ADDRESS")).plaintext().connect()) {
      var vaults = VaultServiceGrpc.newBlockingStub(script.channel());
      var wanted = LIST.toBuilder().setName("pages").build();
      for (var pages : List.of(Pages.of(vaults::listVaults, wanted), Pages.of(vaults::listVaults, wanted).prefetch())) {
        assertEquals(List.of("one", "two", "three"), ids(pages));
        assertEquals(3, pages.stream().count());
      }
      for (var pages : List.of(Pages.of(vaults::listVaults, LIST), Pages.of(vaults::listVaults, LIST).prefetch())) {
        var refused = assertThrows(StatusRuntimeException.class, () -> ids(pages));
        assertEquals(Status.Code.FAILED_PRECONDITION, refused.getStatus().getCode());
      }
      assertEquals(List.of("three"), ids(Pages.of(vaults::listVaults, wanted.toBuilder().setPageToken("3").build())));
      assertThrows(IllegalArgumentException.class, () -> Pages.of(vaults::getVault, GetVaultRequest.getDefaultInstance()));
    }
    try (Gateway gateway = Stage.gateway().connect()) {
      var vaults = VaultServiceGrpc.newBlockingStub(gateway.channel());
      var everything = vaults.listVaults(LIST).getVaultsList().stream().map(Vault::getId).toList();
      assertEquals(everything, ids(Pages.of(vaults::listVaults, LIST.toBuilder().setPageSize(1).build()).prefetch()));
    }
    Stage.passed("pages");
  }

  @Test
  void aListThatDoesNotGoOnEnds() {
    var standing = Pages.of((ListVaultsRequest request) -> ListVaultsResponse.newBuilder().setNextPageToken("same").build(), LIST);
    var refused = assertThrows(StatusRuntimeException.class, () -> standing.stream().limit(3).forEach(page -> {}));
    assertEquals(Status.Code.INTERNAL, refused.getStatus().getCode());
  }
}
