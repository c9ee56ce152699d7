package com.cbrgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.cbrgateway.client.GatewayException.Kind;
import com.cbrgateway.v1.DeleteVaultRequest;
import com.cbrgateway.v1.ErrorReason;
import com.cbrgateway.v1.GetVaultRequest;
import com.cbrgateway.v1.ListVaultsRequest;
import com.cbrgateway.v1.ListVaultsResponse;
import com.cbrgateway.v1.VaultServiceGrpc;
import com.cbrgateway.v1.VaultServiceGrpc.VaultServiceBlockingStub;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.File;
import java.time.Duration;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class GatewayTest {
  private static final ListVaultsRequest LIST = ListVaultsRequest.getDefaultInstance();

  private static VaultServiceBlockingStub vaults(Gateway gateway) {
    return VaultServiceGrpc.newBlockingStub(gateway.channel());
  }

  private static GatewayException failure(Status.Code code, Runnable call, String... words) {
    var thrown = assertThrows(StatusRuntimeException.class, call::run);
    assertEquals(code, thrown.getStatus().getCode(), thrown.getMessage());
    for (String word : words) {
      assertTrue(thrown.getMessage().contains(word), word + " in " + thrown.getMessage());
    }
    return GatewayException.of(thrown);
  }

  @Test
  void unary() throws Exception {
    try (Gateway gateway = Stage.gateway().connect()) {
      String id = vaults(gateway).createVault(Stage.newVault("java-unary", 100)).getVault().getId();
      assertEquals("java-unary", vaults(gateway).getVault(GetVaultRequest.newBuilder().setVaultId(id).build()).getVault().getName());
      assertFalse(vaults(gateway).listVaults(LIST).getVaultsList().isEmpty());
      vaults(gateway).deleteVault(DeleteVaultRequest.newBuilder().setVaultId(id).build());
    }
    Stage.passed("unary");
  }

  @Test
  void token() throws Exception {
    try (Gateway gateway = Stage.gateway().token(() -> Stage.get("TOKEN")).connect()) {
      vaults(gateway).listVaults(LIST);
    }
    Stage.passed("token");
  }

  @Test
  void error() throws Exception {
    try (Gateway gateway = Stage.gateway().connect()) {
      var e = failure(Status.Code.INVALID_ARGUMENT, () -> vaults(gateway).createVault(Stage.newVault("java-error", 5)), "FIELD_INVALID");
      assertEquals(Kind.ANSWERED, e.kind());
      assertEquals(ErrorReason.ERROR_REASON_FIELD_INVALID, e.reason());
      assertEquals(1, e.fields().size());
      assertEquals("vault.billing.size_gib", e.fields().get(0).getField());
      assertFalse(e.callId().isEmpty() || e.requestId().isEmpty());
    }
    Stage.passed("error");
  }

  @Test
  void retry() throws Exception {
    Stage.ask("/fault?operation=CreateVault&kind=cut&when=after_commit&times=1");
    try (Gateway gateway = Stage.gateway().connect()) {
      assertEquals("java-retry", vaults(gateway).createVault(Stage.newVault("java-retry", 100)).getVault().getName());
    }
    assertEquals("1", Stage.ask("/requests?operation=CreateVault&containing=java-retry"));
    Stage.passed("retry");
  }

  @Test
  void quota() throws Exception {
    try (Gateway gateway = Stage.gateway().apiKey(Stage.get("LIMITED_KEY")).connect()) {
      GatewayException e = refusal(gateway);
      assertEquals(ErrorReason.ERROR_REASON_RATE_LIMIT, e.reason(), e.getMessage());
      assertTrue(e.retryDelay().toMillis() > 0);
      assertEquals("requests", e.quotas().get(0).getQuotaMetric());
      ListVaultsResponse listed = Gateway.retryWhenLimited(Duration.ofSeconds(Long.MAX_VALUE), () -> vaults(gateway).listVaults(LIST));
      assertTrue(listed.isInitialized());
    }
    Stage.passed("quota");
  }

  /** Of many calls at once: gRPC for Java waits by itself where the gateway names a delay, so that a few are never refused for good. */
  private static GatewayException refusal(Gateway gateway) throws InterruptedException {
    var stub = VaultServiceGrpc.newFutureStub(gateway.channel());
    for (var call : IntStream.range(0, 30).mapToObj(i -> stub.listVaults(LIST)).toList()) {
      try {
        call.get();
      } catch (ExecutionException failure) {
        return GatewayException.of(failure);
      }
    }
    return fail("none of many calls was refused");
  }

  @Test
  void retryWhenLimited() throws Exception {
    try (Gateway gateway = Gateway.at(Stage.get("SCRIPT_ADDRESS")).plaintext().connect()) {
      var made = Gateway.retryWhenLimited(Duration.ofSeconds(30), () -> vaults(gateway).createVault(Stage.newVault("java-limited", 100)));
      assertEquals("made", made.getVault().getId());
    }
    Stage.passed("retry-when-limited");
  }

  @Test
  void headers() throws Exception {
    refused("apiKey", () -> Gateway.at(Stage.ADDRESS).apiKey("secret\n"));
    refused("apiKey", () -> Gateway.at(Stage.ADDRESS).apiKey(null));
    refused("project", () -> Gateway.at(Stage.ADDRESS).project("secr\u00e9t"));
    try (Gateway gateway = Stage.gateway().token(() -> "secret\n").connect()) {
      refused("token", () -> vaults(gateway).listVaults(LIST));
    }
  }

  private static void refused(String option, Executable use) {
    String message = assertThrows(IllegalArgumentException.class, use).getMessage();
    assertTrue(message.startsWith(option + ":") && !message.contains("secr"), message);
  }

  @Test
  void wrongKey() throws Exception {
    try (Gateway gateway = Stage.gateway().apiKey("nobody's").connect()) {
      failure(Status.Code.UNAUTHENTICATED, () -> vaults(gateway).listVaults(LIST), "CREDENTIALS_INVALID", "API key");
    }
    Stage.passed("wrong-key");
  }

  @Test
  void wrongAuthority() throws Exception {
    try (Gateway gateway = Stage.gateway().authorities(new File(Stage.get("OTHER_CA_FILE"))).connect()) {
      var e = failure(Status.Code.UNAVAILABLE, () -> vaults(gateway).listVaults(LIST), "certificate", Stage.ADDRESS);
      assertEquals(Kind.UNTRUSTED, e.kind());
    }
    Stage.passed("wrong-ca");
  }

  @Test
  void unreachable() throws Exception {
    String closed = Stage.get("CLOSED_ADDRESS");
    unreachable(closed, Gateway.at(closed).plaintext());
    String plain = Stage.get("SCRIPT_ADDRESS");
    unreachable(plain, Gateway.at(plain)); // TLS with a server in plain text.
    Stage.passed("unreachable");
  }

  private static void unreachable(String address, Gateway.Builder builder) {
    try (Gateway gateway = builder.apiKey("any").connect()) {
      var e = failure(Status.Code.UNAVAILABLE, () -> vaults(gateway).listVaults(LIST), "cannot be reached", address);
      assertEquals(Kind.UNREACHABLE, e.kind());
    }
  }

  @Test
  void deadline() throws Exception {
    Stage.ask("/fault?operation=ListVault&kind=delay&seconds=4&times=null");
    try (Gateway gateway = Stage.gateway().connect()) {
      failure(Status.Code.DEADLINE_EXCEEDED, () -> vaults(gateway).withDeadlineAfter(1, TimeUnit.SECONDS).listVaults(LIST), "deadline");
    } finally {
      Stage.ask("/calm");
    }
    Stage.passed("deadline");
  }
}
