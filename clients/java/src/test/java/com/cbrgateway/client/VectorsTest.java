package com.cbrgateway.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.cbrgateway.v1.CheckpointResource;
import com.cbrgateway.v1.ListVaultsResponse;
import com.cbrgateway.v1.Task;
import com.google.gson.Gson;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The vectors of all languages: read, compared, written back. */
class VectorsTest {
  private record Vector(String name, String message, Map<String, String> facts, String base64) {}

  @Test
  void vectors() throws Exception {
    Vector[] vectors = new Gson().fromJson(Files.readString(Path.of(Stage.get("VECTORS"))), Vector[].class);
    assertTrue(vectors.length > 0);
    for (Vector vector : vectors) {
      byte[] content = Base64.getDecoder().decode(vector.base64);
      Message message = parse(vector.message, content);
      Map<String, String> found = facts(message);
      vector.facts.forEach((fact, value) -> assertEquals(value, found.get(fact), vector.name + ": " + fact));
      assertArrayEquals(content, message.toByteArray(), vector.name);
    }
    Stage.passed("vectors");
  }

  private static Message parse(String kind, byte[] content) throws InvalidProtocolBufferException {
    return switch (kind) {
      case "Task" -> Task.parseFrom(content);
      case "CheckpointResource" -> CheckpointResource.parseFrom(content);
      default -> ListVaultsResponse.parseFrom(content);
    };
  }

  private static Map<String, String> facts(Message message) {
    if (message instanceof Task task) {
      var common = task.getDetails().getCommon();
      return Map.of(
          "type", String.valueOf(task.getTypeValue()),
          "type_raw", task.getTypeRaw(),
          "status", String.valueOf(task.getStatusValue()),
          "progress_percent", common.hasProgressPercent() ? String.valueOf(common.getProgressPercent()) : "unset",
          "start_seconds", String.valueOf(task.getStartTime().getSeconds()),
          "start_nanos", String.valueOf(task.getStartTime().getNanos()),
          "end_time", task.hasEndTime() ? String.valueOf(task.getEndTime().getSeconds()) : "unset");
    }
    if (message instanceof CheckpointResource resource) {
      return Map.of("backup_size_mib", String.valueOf(resource.getBackupSizeMib()));
    }
    var list = (ListVaultsResponse) message;
    var last = list.getVaults(list.getVaultsCount() - 1);
    return Map.of(
        "count", String.valueOf(list.getVaultsCount()), "last_id", last.getId(), "last_used_mib", String.valueOf(last.getBilling().getUsedMib()));
  }
}
