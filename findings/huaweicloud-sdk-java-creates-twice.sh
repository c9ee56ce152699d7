#!/usr/bin/env bash
# Guess:   The vendor's Java SDK repeats nothing by itself, as those for Python and Go: where the connection breaks after CreateVault was sent, an exception says so, and
#          the program decides. A call that ended without an exception was sent once.
# Happens: The HTTP client below it (OkHttp) sends the POST again if the connection was one that an earlier call had left open, or if the name has another address.
#          A server, or a load balancer before it, that carries the request out and closes the connection without an answer makes two vaults; the call ends well with
#          the second one, and nobody hears of the first, which costs money from then on. With a fresh connection to a single address the exception comes.
# Version: huaweicloud-sdk-cbr 3.1.130 for Java (OkHttp 4.12.0), Java 17
# Source:  running it; DefaultHttpClient of huaweicloud-sdk-core leaves OkHttp's retryOnConnectionFailure on, and HttpConfig has no switch for it; issue 2394 of OkHttp
# Advice:  Give CBR's client connections of its own that are not kept, and one address: `withConnectionPool(new ConnectionPool(0, 1, SECONDS))` and a `withDns` that
#          answers the first address. Or count what you made: vault names that are unique for each order, and a list after each create.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.huaweicloud.sdk</groupId>
      <artifactId>huaweicloud-sdk-cbr</artifactId>
      <version>3.1.130</version>
    </dependency>
  </dependencies>
</project>
POM

cat >Look.java <<'JAVA'
import com.huaweicloud.sdk.cbr.v1.CbrClient;
import com.huaweicloud.sdk.cbr.v1.model.CreateVaultRequest;
import com.huaweicloud.sdk.cbr.v1.model.ListVaultRequest;
import com.huaweicloud.sdk.cbr.v1.model.VaultCreate;
import com.huaweicloud.sdk.cbr.v1.model.VaultCreateReq;
import com.huaweicloud.sdk.core.auth.BasicCredentials;
import com.huaweicloud.sdk.core.http.HttpConfig;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import okhttp3.ConnectionPool;

public final class Look {
    private static final AtomicInteger MADE = new AtomicInteger();

    public static void main(String[] arguments) throws Exception {
        int port = 0;
        for (String address : List.of("127.0.0.1", "127.0.0.2")) {
            ServerSocket listener = new ServerSocket(port, 10, InetAddress.getByName(address));
            port = listener.getLocalPort();
            run(() -> {
                while (true) {
                    Socket connection = listener.accept();
                    run(() -> serve(connection));
                }
            });
        }
        String kept = made(port, HttpConfig.getDefaultHttpConfig().withDns(name -> addresses(1)), true);
        String two = made(port, HttpConfig.getDefaultHttpConfig().withDns(name -> addresses(2)), false);
        ConnectionPool none = new ConnectionPool(0, 1, TimeUnit.SECONDS);
        String fresh = made(port, HttpConfig.getDefaultHttpConfig().withConnectionPool(none).withDns(name -> addresses(1)), true);
        System.out.println("a connection that was kept: " + kept + "\ntwo addresses:              " + two + "\nas advised:                 " + fresh);
        if (!kept.equals("2 made, shown vault 2") || !two.equals("2 made, shown vault 2") || !fresh.equals("1 made, ConnectionException")) {
            System.out.println("CHANGED: this is not what the head of this script describes");
            System.exit(1);
        }
        System.exit(0);
    }

    /** Answers how many vaults the service made for one CreateVault, and what the caller heard. */
    private static String made(int port, HttpConfig config, boolean after) {
        BasicCredentials credentials = new BasicCredentials().withAk("access-key").withSk("secret-key").withProjectId("0".repeat(32));
        List<String> endpoints = List.of("http://cbr.finding.test:" + port);
        CbrClient client = CbrClient.newBuilder().withHttpConfig(config).withCredential(credentials).withEndpoints(endpoints).build();
        if (after) {
            client.listVault(new ListVaultRequest());
        }
        MADE.set(0);
        String heard;
        try {
            VaultCreateReq body = new VaultCreateReq().withVault(new VaultCreate().withName("web"));
            heard = "shown vault " + client.createVault(new CreateVaultRequest().withBody(body)).getVault().getId();
        } catch (RuntimeException failure) {
            heard = failure.getClass().getSimpleName();
        }
        return MADE.get() + " made, " + heard;
    }

    private static List<InetAddress> addresses(int count) {
        try {
            return List.of(InetAddress.getByName("127.0.0.1"), InetAddress.getByName("127.0.0.2")).subList(0, count);
        } catch (IOException never) {
            throw new IllegalStateException(never);
        }
    }

    /** Makes a vault for each POST that has come whole; the answer of the first one gets lost, since the connection is closed. */
    private static void serve(Socket connection) throws IOException {
        StringBuilder request = new StringBuilder();
        InputStream in = connection.getInputStream();
        for (int each = in.read(); each >= 0; each = in.read()) {
            request.append((char) each);
            boolean post = request.indexOf("POST") == 0;
            if (!request.toString().endsWith(post ? "\r\n0\r\n\r\n" : "\r\n\r\n")) {
                continue;
            }
            request.setLength(0);
            if (post && MADE.incrementAndGet() == 1) {
                connection.close();
                return;
            }
            String body = post ? "{\"vault\": {\"id\": \"" + MADE.get() + "\"}}" : "{\"vaults\": [], \"count\": 0}";
            String head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + body.length() + "\r\n\r\n";
            connection.getOutputStream().write((head + body).getBytes(StandardCharsets.US_ASCII));
        }
    }

    private interface Work {
        void run() throws IOException;
    }

    private static void run(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (IOException over) {
                return;
            }
        });
        thread.setDaemon(true);
        thread.start();
    }
}
JAVA

mvn -q -B dependency:build-classpath -Dmdep.outputFile=classpath
java -cp "$(cat classpath)" Look.java 2>/dev/null
