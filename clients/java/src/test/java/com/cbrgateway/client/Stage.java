package com.cbrgateway.client;

import com.cbrgateway.v1.BillingSpec;
import com.cbrgateway.v1.ConsistentLevel;
import com.cbrgateway.v1.CreateVaultRequest;
import com.cbrgateway.v1.ObjectType;
import com.cbrgateway.v1.ProtectType;
import com.cbrgateway.v1.VaultSpec;
import io.grpc.StatusRuntimeException;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;

/** The servers that the tests run against, and where results go. */
final class Stage {
  static final String ADDRESS = get("ADDRESS");

  private Stage() {}

  static String get(String name) {
    return System.getenv("CBR_TEST_" + name);
  }

  /** A connection that works; the tests then change what shall not. */
  static Gateway.Builder gateway() throws IOException {
    return Gateway.at(ADDRESS).apiKey(get("API_KEY")).authorities(new File(get("CA_FILE")));
  }

  /** Tells the stage what to do. */
  static String ask(String request) {
    var post = HttpRequest.newBuilder(URI.create(get("CONTROL") + request)).POST(HttpRequest.BodyPublishers.noBody()).build();
    var reply = HttpClient.newHttpClient().sendAsync(post, HttpResponse.BodyHandlers.ofString()).join();
    if (reply.statusCode() != 200) {
      throw new IllegalStateException(request + ": " + reply.body());
    }
    return reply.body();
  }

  static CreateVaultRequest newVault(String name, int sizeGib) {
    var billing =
        BillingSpec.newBuilder()
            .setSizeGib(sizeGib)
            .setObjectType(ObjectType.OBJECT_TYPE_SERVER)
            .setProtectType(ProtectType.PROTECT_TYPE_BACKUP)
            .setConsistentLevel(ConsistentLevel.CONSISTENT_LEVEL_CRASH_CONSISTENT);
    return CreateVaultRequest.newBuilder().setVault(VaultSpec.newBuilder().setName(name).setBilling(billing)).build();
  }

  /** Makes the call again and again, until it goes through; for about 50 s at most: gRPC pauses between connections. */
  static void until(Runnable call) throws InterruptedException {
    for (int tries = 0; ; tries++) {
      try {
        call.run();
        return;
      } catch (StatusRuntimeException failure) {
        if (tries == 500) {
          throw failure;
        }
        Thread.sleep(100);
      }
    }
  }

  static void passed(String check) throws IOException {
    Files.createFile(Path.of(get("RESULTS"), check));
  }
}
