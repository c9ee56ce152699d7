package com.cbrgateway.client;

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
  static String ask(String request) throws IOException, InterruptedException {
    var post = HttpRequest.newBuilder(URI.create(get("CONTROL") + request)).POST(HttpRequest.BodyPublishers.noBody()).build();
    var reply = HttpClient.newHttpClient().send(post, HttpResponse.BodyHandlers.ofString());
    if (reply.statusCode() != 200) {
      throw new IOException(request + ": " + reply.body());
    }
    return reply.body();
  }

  static void passed(String check) throws IOException {
    Files.createFile(Path.of(get("RESULTS"), check));
  }
}
