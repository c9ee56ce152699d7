package com.cbrgateway.client;

import com.google.gson.Gson;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * A connection to a CBR Gateway. Its calls have deadlines, are repeated only where that is safe, and fail with a {@link GatewayException} as the cause.
 *
 * <pre>{@code
 * try (Gateway gateway = Gateway.at("gateway.example.com:50051").apiKey(key).connect()) {
 *   var vaults = VaultServiceGrpc.newBlockingStub(gateway.channel());
 * }
 * }</pre>
 */
public final class Gateway implements AutoCloseable {
  private final ManagedChannel managed;
  private final Channel channel;
  private final ClientCertificate certificate;

  private Gateway(ManagedChannel managed, Channel channel, ClientCertificate certificate) {
    this.managed = managed;
    this.channel = channel;
    this.certificate = certificate;
  }

  /**
   * Begins the description of a connection.
   *
   * @param address {@code host:port}, or a name that gRPC resolves, such as {@code dns:///host:port}
   * @throws IllegalArgumentException for what can be no address; it says what to write
   */
  public static Builder at(String address) {
    return new Builder(address);
  }

  /** What the generated stubs are made with. */
  public Channel channel() {
    return channel;
  }

  /** Ends calls that are under way, at the latest after five seconds. */
  @Override
  public void close() {
    if (certificate != null) {
      certificate.close();
    }
    managed.shutdown();
    try {
      if (!managed.awaitTermination(5, TimeUnit.SECONDS)) {
        managed.shutdownNow();
      }
    } catch (InterruptedException interrupted) {
      managed.shutdownNow();
      Thread.currentThread().interrupt();
    }
  }

  /**
   * Makes a call, and again after the delay that the gateway asks for, as long as a limit of the gateway refuses it and the time allows.
   *
   * <p>The call must make one change at most, from the thread that it runs in: all tries have one request_id, by which the gateway knows a change that it has made already. It may have: a
   * limit can refuse the repeat, by gRPC, of a change whose answer was lost.
   */
  public static <T> T retryWhenLimited(Duration time, Supplier<T> call) throws InterruptedException {
    long began = System.nanoTime();
    Context change = Context.current().withValue(CallInterceptor.REQUEST_ID, UUID.randomUUID().toString());
    while (true) {
      Context outer = change.attach();
      try {
        return call.get();
      } catch (StatusRuntimeException failure) {
        Duration delay = GatewayException.of(failure).retryDelay();
        boolean refused = failure.getStatus().getCode() == Status.Code.RESOURCE_EXHAUSTED && !delay.isZero();
        // Not compared with the end of the time: one that is far away cannot be counted to.
        if (!refused || delay.plusNanos(System.nanoTime() - began).compareTo(time) > 0) {
          throw failure;
        }
        Thread.sleep(delay.toMillis() + 1);
      } finally {
        change.detach(outer);
      }
    }
  }

  /** How long each RPC may take and which are repeated, as gRPC takes it. */
  static Map<String, ?> serviceConfig() {
    try (var text = new InputStreamReader(Gateway.class.getResourceAsStream("service_config.json"), StandardCharsets.UTF_8)) {
      @SuppressWarnings("unchecked")
      Map<String, ?> config = new Gson().fromJson(text, Map.class);
      return config;
    } catch (IOException unreadable) {
      throw new UncheckedIOException(unreadable);
    }
  }

  /** How the gateway is reached, and as whom. */
  public static final class Builder {
    private final String address;
    private final TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
    private final List<ClientInterceptor> interceptors = new ArrayList<>();
    private Consumer<ManagedChannelBuilder<?>> options = builder -> {};
    private ClientCertificate certificate;
    private boolean plaintext;
    private Supplier<String> bearer;
    private String project;

    private Builder(String address) {
      this.address = Address.checked(address);
    }

    /** Sends a key that the gateway's operator has made. */
    public Builder apiKey(String key) {
      Headers.check("apiKey", key);
      return token(() -> key);
    }

    /** Sends what the source answers. It is asked for each call, so it should keep a token until shortly before the token expires. */
    public Builder token(Supplier<String> source) {
      bearer = source;
      return this;
    }

    /** The project of all calls. Without it calls go to the tenant's default project. */
    public Builder project(String id) {
      project = id == null ? null : Headers.check("project", id);
      return this;
    }

    /** Trusts these certificate authorities (PEM) instead of the system's. */
    public Builder authorities(File pem) throws IOException {
      tls.trustManager(pem);
      return this;
    }

    /**
     * Presents a certificate of the caller (PEM), for gateways that want one. The files are read again when they have changed, for the next connection, until the connection is closed:
     * make one connection of this builder.
     */
    public Builder certificate(File pem, File key) throws IOException {
      certificate = new ClientCertificate(pem, key);
      tls.keyManager(certificate.keyManager);
      return this;
    }

    /** The same from memory. */
    public Builder certificate(InputStream pem, InputStream key) throws IOException {
      tls.keyManager(pem, key);
      return this;
    }

    /** Of gRPC's own; they see each call as it is sent. */
    public Builder interceptors(ClientInterceptor... added) {
      interceptors.addAll(List.of(added));
      return this;
    }

    /** Sets whatever else gRPC's builder of channels has; that counts before ours. */
    public Builder channel(Consumer<ManagedChannelBuilder<?>> more) {
      options = options.andThen(more);
      return this;
    }

    /** Does without TLS. The API key travels readable: for a gateway on this machine only. */
    public Builder plaintext() {
      plaintext = true;
      return this;
    }

    /** Nothing is sent before the first call. */
    public Gateway connect() {
      ChannelCredentials transport = plaintext ? InsecureChannelCredentials.create() : tls.build();
      ManagedChannelBuilder<?> builder =
          Grpc.newChannelBuilder(address, transport)
              .defaultServiceConfig(serviceConfig())
              .disableServiceConfigLookUp()
              // Requests of up to 1 MiB are repeated, too.
              .perRpcBufferLimit(2 << 20)
              // A connection that died without a word is noticed by calls that wait on it.
              .keepAliveTime(30, TimeUnit.SECONDS)
              .keepAliveTimeout(10, TimeUnit.SECONDS)
              .keepAliveWithoutCalls(false);
      options.accept(builder);
      ManagedChannel managed = builder.build();
      Channel inner = ClientInterceptors.interceptForward(managed, interceptors);
      var ours = new CallInterceptor(managed, address, plaintext, bearer, project);
      return new Gateway(managed, ClientInterceptors.intercept(inner, ours), certificate);
    }
  }
}
