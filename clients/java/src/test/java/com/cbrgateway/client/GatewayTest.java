package com.cbrgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.cbrgateway.client.GatewayException.Kind;
import com.cbrgateway.v1.CreateVaultRequest;
import com.cbrgateway.v1.DeleteVaultRequest;
import com.cbrgateway.v1.ErrorReason;
import com.cbrgateway.v1.GetVaultRequest;
import com.cbrgateway.v1.ListVaultsRequest;
import com.cbrgateway.v1.ListVaultsResponse;
import com.cbrgateway.v1.VaultServiceGrpc;
import com.cbrgateway.v1.VaultServiceGrpc.VaultServiceBlockingStub;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

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
  void retryLarge() throws Exception {
    try (Gateway gateway = Gateway.at(Stage.get("SCRIPT_ADDRESS")).plaintext().connect()) {
      var request = Stage.newVault("java-large", 100).toBuilder();
      request.getVaultBuilder().setDescription("x".repeat(1 << 20));
      assertEquals("made", vaults(gateway).createVault(request.build()).getVault().getId());
    }
    Stage.passed("retry-large");
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
    ends(Kind.UNREACHABLE, closed, Gateway.at(closed).plaintext());
    Stage.passed("unreachable");
  }

  @Test
  void kinds() throws Exception {
    var authorities = new File(Stage.get("CA_FILE"));
    String expired = Stage.get("EXPIRED_ADDRESS");
    ends(Kind.EXPIRED_CERTIFICATE, expired, Gateway.at(expired).authorities(authorities));
    String plain = Stage.get("SCRIPT_ADDRESS");
    ends(Kind.PLAINTEXT_EXPECTED, plain, Gateway.at(plain).authorities(authorities));
    ends(Kind.TLS_EXPECTED, Stage.ADDRESS, Gateway.at(Stage.ADDRESS).plaintext());
    String mutual = Stage.get("MUTUAL_ADDRESS");
    ends(Kind.TLS_EXPECTED, mutual, Gateway.at(mutual).plaintext());
    Stage.passed("kinds");
  }

  private static void ends(Kind kind, String address, Gateway.Builder builder) {
    try (Gateway gateway = builder.apiKey("any").connect()) {
      var e = failure(Status.Code.UNAVAILABLE, () -> vaults(gateway).listVaults(LIST), address);
      assertEquals(kind, e.kind(), e + " " + e.getCause());
    }
  }

  @Test
  void clientCertificate(@TempDir Path folder) throws Exception {
    Path pem = folder.resolve("own.crt");
    Path key = folder.resolve("own.key");
    Supplier<Gateway.Builder> mutual = () -> Gateway.at(Stage.get("MUTUAL_ADDRESS"));
    var authorities = new File(Stage.get("CA_FILE"));
    var list = ListVaultsRequest.newBuilder().setName("pages").build();
    try (Gateway gateway = mutual.get().authorities(authorities).connect()) {
      failure(Status.Code.UNAVAILABLE, () -> vaults(gateway).listVaults(list), "certificate");
    }
    put("OTHER_CERTIFICATE_FILE", pem);
    put("OTHER_KEY_FILE", key);
    try (Gateway gateway = mutual.get().authorities(authorities).certificate(pem.toFile(), key.toFile()).connect()) {
      failure(Status.Code.UNAVAILABLE, () -> vaults(gateway).listVaults(list));
      put("CERTIFICATE_FILE", pem);
      put("KEY_FILE", key);
      Stage.until(() -> vaults(gateway).listVaults(list)); // The files are looked at each second.
    }
    var builder = mutual.get().authorities(authorities);
    try (Gateway gateway = builder.certificate(Files.newInputStream(pem), Files.newInputStream(key)).connect()) {
      vaults(gateway).listVaults(list);
    }
    assertThrows(IOException.class, () -> mutual.get().certificate(new File("nowhere.crt"), new File("nowhere.key")));
    Stage.passed("client-certificate");
  }

  private static void put(String variable, Path file) throws IOException {
    Files.copy(Path.of(Stage.get(variable)), file, StandardCopyOption.REPLACE_EXISTING);
  }

  @Test
  void interceptors() {
    var seen = new ArrayList<String>();
    var look =
        new ClientInterceptor() {
          @Override
          public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
            return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
              @Override
              public void sendMessage(Q message) {
                seen.add(((CreateVaultRequest) message).getRequestId());
                super.sendMessage(message);
              }
            };
          }
        };
    var builder = Gateway.at(Stage.get("SCRIPT_ADDRESS")).plaintext().interceptors(look).channel(more -> more.disableRetry());
    try (Gateway gateway = builder.connect()) {
      var e = failure(Status.Code.RESOURCE_EXHAUSTED, () -> vaults(gateway).createVault(Stage.newVault("java-intercepted", 100)), "request_id ");
      assertEquals(List.of(e.requestId()), seen);
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

  /** Of the error of a call, damaged on its way. */
  @ParameterizedTest
  @ValueSource(strings = {"\u00ff", "\b\u0005"}) // No message; and one of another code.
  void detailsThatCannotBeReadTellNothing(String details) {
    var key = Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
    var damage =
        new ClientInterceptor() {
          @Override
          public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
            return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
              @Override
              public void start(Listener<A> listener, Metadata headers) {
                super.start(
                    new SimpleForwardingClientCallListener<>(listener) {
                      @Override
                      public void onClose(Status status, Metadata trailers) {
                        trailers.discardAll(key);
                        trailers.put(key, details.getBytes(StandardCharsets.ISO_8859_1));
                        super.onClose(status, trailers);
                      }
                    },
                    headers);
              }
            };
          }
        };
    try (Gateway gateway = Gateway.at(Stage.get("SCRIPT_ADDRESS")).plaintext().interceptors(damage).connect()) {
      var e = assertTimeoutPreemptively(Duration.ofSeconds(20), () -> failure(Status.Code.FAILED_PRECONDITION, () -> vaults(gateway).listVaults(LIST)));
      assertEquals(Kind.OTHER, e.kind());
    }
  }
}
