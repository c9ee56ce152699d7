package com.cbrgateway.client;

import com.google.protobuf.DescriptorProtos.MethodOptions.IdempotencyLevel;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.protobuf.ProtoMethodDescriptorSupplier;
import java.util.UUID;
import java.util.function.Supplier;

/**
 * Puts the caller's metadata and a request_id on each call, and makes its error a typed one. It stands above gRPC's own repeats, so all attempts of a call send the same request with
 * the same request_id.
 */
final class CallInterceptor implements ClientInterceptor {
  /** The request_id that {@link Gateway#retryWhenLimited} keeps for its change. */
  static final Context.Key<String> REQUEST_ID = Context.key("cbrgateway-request-id");

  private static final Metadata.Key<String> AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> PROJECT = Metadata.Key.of("x-cbr-project-id", Metadata.ASCII_STRING_MARSHALLER);

  private final ManagedChannel connection;
  private final String address;
  private final boolean plaintext;
  private final Supplier<String> bearer;
  private final String project;

  CallInterceptor(ManagedChannel connection, String address, boolean plaintext, Supplier<String> bearer, String project) {
    this.connection = connection;
    this.address = address;
    this.plaintext = plaintext;
    this.bearer = bearer;
    this.project = project;
  }

  @Override
  public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
    if (!method.getType().serverSendsOneMessage()) {
      connection.resetConnectBackoff(); // A watch pauses by itself. gRPC's own pauses grow to minutes, in which a gateway that is back would not be noticed.
    }
    String kept = REQUEST_ID.get(); // Here, since a message may be sent from another thread.
    return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
      private volatile String requestId = "";

      @Override
      public void start(Listener<A> listener, Metadata headers) {
        if (bearer != null) {
          headers.put(AUTHORIZATION, "Bearer " + Headers.check("token", bearer.get()));
        }
        if (project != null) {
          headers.put(PROJECT, project);
        }
        super.start(
            new SimpleForwardingClientCallListener<A>(listener) {
              @Override
              public void onClose(Status status, Metadata trailers) {
                super.onClose(status.isOk() ? status : GatewayException.explained(status, trailers, address, plaintext, requestId), trailers);
              }
            },
            headers);
      }

      @Override
      public void sendMessage(Q request) {
        Q filled = isRead(method) ? request : withRequestId(request, kept);
        requestId = isRead(method) ? "" : requestIdOf(filled);
        super.sendMessage(filled);
      }
    };
  }

  /** Whether the RPC changes nothing. In its request request_id is a filter. */
  private static boolean isRead(MethodDescriptor<?, ?> method) {
    var options = ((ProtoMethodDescriptorSupplier) method.getSchemaDescriptor()).getMethodDescriptor().getOptions();
    return options.getIdempotencyLevel() == IdempotencyLevel.NO_SIDE_EFFECTS;
  }

  /** The request with its request_id filled, where it has one: with the kept one, if there is one. */
  @SuppressWarnings("unchecked")
  private static <Q> Q withRequestId(Q request, String kept) {
    FieldDescriptor field = ((Message) request).getDescriptorForType().findFieldByName("request_id");
    if (field == null || !requestIdOf(request).isEmpty()) {
      return request;
    }
    return (Q) ((Message) request).toBuilder().setField(field, kept == null ? UUID.randomUUID().toString() : kept).build();
  }

  private static <Q> String requestIdOf(Q request) {
    FieldDescriptor field = ((Message) request).getDescriptorForType().findFieldByName("request_id");
    return field == null ? "" : (String) ((Message) request).getField(field);
  }
}
