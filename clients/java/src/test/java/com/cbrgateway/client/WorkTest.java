package com.cbrgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.cbrgateway.client.GatewayException.Kind;
import com.cbrgateway.v1.CheckpointServiceGrpc;
import com.cbrgateway.v1.CheckpointSpec;
import com.cbrgateway.v1.CreateCheckpointRequest;
import com.cbrgateway.v1.DeleteVaultRequest;
import com.cbrgateway.v1.ErrorReason;
import com.cbrgateway.v1.GetVaultResponse;
import com.cbrgateway.v1.ListProtectablesRequest;
import com.cbrgateway.v1.ListProtectablesResponse;
import com.cbrgateway.v1.ProtectabilityServiceGrpc;
import com.cbrgateway.v1.ProtectableType;
import com.cbrgateway.v1.ResourceRef;
import com.cbrgateway.v1.Submission;
import com.cbrgateway.v1.TaskType;
import com.cbrgateway.v1.VaultServiceGrpc;
import io.grpc.Channel;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class WorkTest {
  private static final Duration LONG = Duration.ofMinutes(1);

  @Test
  void waits() throws Exception {
    try (Gateway gateway = Stage.gateway().connect()) {
      Channel channel = gateway.channel();
      var vaults = VaultServiceGrpc.newBlockingStub(channel);
      String vaultId = vaults.createVault(withServer(channel)).getVault().getId();
      var backup = CreateCheckpointRequest.newBuilder().setCheckpoint(CheckpointSpec.newBuilder().setVaultId(vaultId)).build();
      var made = Work.runAndWait(channel, LONG, () -> CheckpointServiceGrpc.newBlockingStub(channel).createCheckpoint(backup));
      assertFalse(made.answer().getCheckpoint().getId().isEmpty());
      assertEquals(List.of(TaskType.TASK_TYPE_BACKUP), made.ended().tasks().stream().map(task -> task.getType()).toList());
      assertEquals(1, Work.of(made.ended().tasks().get(0)).waitFor(channel, null).tasks().size());
      var cleanUp = DeleteVaultRequest.newBuilder().setVaultId(vaultId).setForce(true).build();
      assertEquals(1, Work.runAndWait(channel, LONG, () -> vaults.deleteVault(cleanUp)).ended().tasks().size());
      assertThrows(IllegalArgumentException.class, () -> Work.runAndWait(channel, LONG, GetVaultResponse::getDefaultInstance));
    }
    try (Gateway script = Gateway.at(Stage.get("SCRIPT_ADDRESS")).plaintext().connect()) {
      waitsOfTheScript(script.channel());
    }
    Stage.passed("waits");
  }

  private static com.cbrgateway.v1.CreateVaultRequest withServer(Channel channel) {
    var servers = ListProtectablesRequest.newBuilder().setProtectableType(ProtectableType.PROTECTABLE_TYPE_SERVER).build();
    var free =
        Pages.of(ProtectabilityServiceGrpc.newBlockingStub(channel)::listProtectables, servers)
            .rows(ListProtectablesResponse::getInstancesList)
            .filter(server -> !server.getProtectable().hasVault())
            .findFirst()
            .orElseThrow();
    var request = Stage.newVault("java-waits", 200).toBuilder();
    request.getVaultBuilder().addResources(ResourceRef.newBuilder().setId(free.getId()).setType(free.getType()));
    return request.build();
  }

  private static Submission submission(String id) {
    return Submission.newBuilder().setId(id).build();
  }

  private static void waitsOfTheScript(Channel channel) throws Exception {
    Ended ended = Work.of(submission("skipping")).waitFor(channel, LONG);
    assertEquals("good", ended.tasks().get(0).getId());
    assertEquals("BackupService.6125", ended.skipped().get(0).getCode());
    var failed = failing(channel, submission("failing"), submission("skipping"));
    assertEquals(1, failed.failures().size());
    var bad = failed.failures().get(0);
    assertEquals("bad", bad.task().orElseThrow().getId());
    assertEquals("BackupService.1204", bad.code());
    assertEquals(ErrorReason.ERROR_REASON_UPSTREAM_INTERNAL, bad.reason());
    assertTrue(failed.getMessage().contains("BackupService.1204, UPSTREAM_INTERNAL"), failed.getMessage());
    assertEquals(1, failed.ended().tasks().size());
    assertEquals(1, failed.ended().skipped().size());
    assertEquals("nothing", failing(channel, submission("nothing")).failures().get(0).id());
    assertEquals(ErrorReason.ERROR_REASON_SUBMISSION_NOT_FOUND, failing(channel, submission("lost")).failures().get(0).reason());
    var open = Work.of(submission("open"), submission("skipping"));
    var late = assertThrows(GatewayException.class, () -> open.waitFor(channel, Duration.ofSeconds(3)));
    assertEquals(Kind.DEADLINE, late.kind());
    assertEquals(List.of("slow"), late.stillOpen());
    assertTrue(late.getMessage().contains("slow"), late.getMessage());
    var many = Work.ofTasks(IntStream.range(0, 500).mapToObj(number -> "task-" + number % 250).toArray(String[]::new));
    assertEquals(251, many.and(Work.of(submission("skipping"))).waitFor(channel, LONG).tasks().size());
    assertTrue(Work.ofTasks().waitFor(channel, null).tasks().isEmpty());
    assertThrows(IllegalArgumentException.class, () -> Work.of(submission("")));
  }

  private static TaskFailedException failing(Channel channel, Submission... what) {
    return assertThrows(TaskFailedException.class, () -> Work.of(what).waitFor(channel, LONG));
  }
}
