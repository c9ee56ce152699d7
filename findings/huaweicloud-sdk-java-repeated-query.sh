#!/usr/bin/env bash
# Guess:   The vendor's SDKs sign one request in one way. The signing guide says that the parameters of the query are sorted, so ListVault with the ids `b` and
#          `a` is signed over `id=a&id=b` in every language, and whoever checks signatures (a proxy, a gateway, an emulator) sorts names and values.
# Happens: The Java SDK sorts the names only. It signs, and sends, the values of one name in the order in which they were given: `id=b&id=a`. The Python SDK
#          signs `id=a&id=b` for the same request. A checker that sorts refuses the Java SDK as soon as a list filter has several values out of order.
# Version: huaweicloud-sdk-cbr 3.1.130 for Java, Java 17
# Source:  running it; the signature of the request is computed here in both ways and compared with the one that was sent
# Advice:  Who checks signatures accepts either order of repeated values. Who calls with the Java SDK sorts the values first.
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
import com.huaweicloud.sdk.cbr.v1.model.ListVaultRequest;
import com.huaweicloud.sdk.core.auth.BasicCredentials;
import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public final class Look {
    private static Headers headers;
    private static String path;
    private static String query;

    public static void main(String[] arguments) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", exchange -> {
            headers = exchange.getRequestHeaders();
            path = exchange.getRequestURI().getRawPath();
            query = exchange.getRequestURI().getRawQuery();
            byte[] body = "{\"vaults\": [], \"count\": 0}".getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        BasicCredentials credentials = new BasicCredentials().withAk("access-key").withSk("secret-key").withProjectId("0".repeat(32));
        String address = "http://127.0.0.1:" + server.getAddress().getPort();
        CbrClient client = CbrClient.newBuilder().withCredential(credentials).withEndpoints(List.of(address)).build();
        client.listVault(new ListVaultRequest().withId(List.of("b", "a")));
        server.stop(0);

        boolean given = sent().equals(signature("id=b&id=a"));
        boolean sorted = sent().equals(signature("id=a&id=b"));
        System.out.println("sent: " + query + "; signed as given: " + given + "; signed sorted: " + sorted);
        if (!query.equals("id=b&id=a") || !given || sorted) {
            System.out.println("CHANGED: this is not what the head of this script describes");
            System.exit(1);
        }
        System.exit(0);
    }

    private static String part(String name) {
        String authorization = headers.getFirst("Authorization");
        return authorization.split(name + "=")[1].split(",")[0].trim();
    }

    private static String sent() {
        return part("Signature");
    }

    private static String signature(String canonicalQuery) throws Exception {
        StringBuilder signed = new StringBuilder();
        for (String name : part("SignedHeaders").split(";")) {
            signed.append(name).append(':').append(headers.getFirst(name).trim()).append('\n');
        }
        String request = String.join("\n", "GET", path + "/", canonicalQuery, signed, part("SignedHeaders"), sha256(""));
        String text = String.join("\n", "SDK-HMAC-SHA256", headers.getFirst("X-Sdk-Date"), sha256(request));
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec("secret-key".getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
        return HexFormat.of().formatHex(mac.doFinal(text.getBytes(StandardCharsets.UTF_8)));
    }

    private static String sha256(String text) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
    }
}
JAVA

mvn -q -B dependency:build-classpath -Dmdep.outputFile=classpath
java -cp "$(cat classpath)" Look.java 2>/dev/null
