/** Typed calls of the CBR Gateway: {@link com.cbrgateway.client.Gateway} connects, {@code com.cbrgateway.v1} is the API. */
module com.cbrgateway.client {
  requires transitive com.google.common;
  requires transitive com.google.protobuf;
  requires transitive io.grpc;
  requires transitive io.grpc.stub;
  requires transitive proto.google.common.protos;
  requires com.google.gson;
  requires io.grpc.protobuf;
  requires io.grpc.util;
  // Guava needs it, and has no descriptor that says so.
  requires com.google.common.util.concurrent.internal;

  exports com.cbrgateway.client;
  exports com.cbrgateway.v1;
}
