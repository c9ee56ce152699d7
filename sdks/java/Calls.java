import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.huaweicloud.sdk.cbr.v1.CbrClient;
import com.huaweicloud.sdk.core.SdkResponse;
import com.huaweicloud.sdk.core.auth.BasicCredentials;
import com.huaweicloud.sdk.core.exception.ServiceResponseException;
import com.huaweicloud.sdk.core.utils.JsonUtils;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * Makes the calls that it reads from its standard input with the vendor's Java SDK, one JSON object a line, and writes what came of
 * each. The SDK finds the path, signs the request and reads the answer; nothing here knows any operation.
 */
public final class Calls {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(made(MAPPER.readTree(line)));
        }
    }

    private static CbrClient clientOf(String project) {
        BasicCredentials credentials = new BasicCredentials().withAk(System.getenv("AK")).withSk(System.getenv("SK")).withProjectId(project);
        return CbrClient.newBuilder().withCredential(credentials).withEndpoints(List.of(System.getenv("ENDPOINT"))).build();
    }

    private static ObjectNode made(JsonNode order) throws Exception {
        ObjectNode outcome = MAPPER.createObjectNode();
        String operation = order.get("operation").asText();
        String name = Character.toLowerCase(operation.charAt(0)) + operation.substring(1);
        Optional<Method> method = Arrays.stream(CbrClient.class.getMethods()).filter(each -> each.getName().equals(name)).findFirst();
        if (method.isEmpty()) {
            return outcome.put("problem", "missing");
        }
        try {
            Object request = JsonUtils.toObject(order.get("request").toString(), method.get().getParameterTypes()[0]);
            SdkResponse response = (SdkResponse) method.get().invoke(clientOf(order.get("project").asText()), request);
            ObjectNode members = (ObjectNode) MAPPER.readTree(JsonUtils.toJSON(response));
            outcome.set("response", members.put("status_code", response.getHttpStatusCode()));
            return outcome;
        } catch (InvocationTargetException error) {
            if (error.getCause() instanceof ServiceResponseException refusal && refusal.getErrorCode() != null) {
                return outcome.put("status", refusal.getHttpStatusCode()).put("code", refusal.getErrorCode());
            }
            return outcome.put("problem", error.getCause().toString());
        } catch (RuntimeException error) {
            return outcome.put("problem", error.toString());
        }
    }
}
