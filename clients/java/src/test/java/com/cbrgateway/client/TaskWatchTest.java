package com.cbrgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.cbrgateway.v1.CheckpointServiceGrpc;
import com.cbrgateway.v1.CheckpointSpec;
import com.cbrgateway.v1.CreateCheckpointRequest;
import com.cbrgateway.v1.CreateVaultRequest;
import com.cbrgateway.v1.DeleteVaultRequest;
import com.cbrgateway.v1.ErrorReason;
import com.cbrgateway.v1.ListProtectablesRequest;
import com.cbrgateway.v1.ProtectabilityServiceGrpc;
import com.cbrgateway.v1.ProtectableType;
import com.cbrgateway.v1.TaskFilter;
import com.cbrgateway.v1.TaskStatus;
import com.cbrgateway.v1.VaultServiceGrpc;
import com.cbrgateway.v1.WatchTasksRequest;
import com.cbrgateway.v1.WatchTasksResponse;
import com.google.protobuf.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class TaskWatchTest {
  @Test
  void watch() throws Exception {
    List<TaskStatus> ends = new ArrayList<>();
    try (Gateway gateway = Stage.gateway().connect()) {
      var vaults = VaultServiceGrpc.newBlockingStub(gateway.channel());
      String vault = vaults.createVault(vaultOfAServer(gateway)).getVault().getId();
      var backup = CreateCheckpointRequest.newBuilder().setCheckpoint(CheckpointSpec.newBuilder().setVaultId(vault)).build();
      var made = CheckpointServiceGrpc.newBlockingStub(gateway.channel()).createCheckpoint(backup);
      var filter = TaskFilter.newBuilder().addSubmissionIds(made.getSubmission().getId());
      var request = WatchTasksRequest.newBuilder().setFilter(filter).setEndWhenAllTerminal(true).build();
      var restarted = new AtomicBoolean();
      TaskWatch.follow(
          gateway.channel(),
          request,
          event -> {
            if (!restarted.getAndSet(true)) {
              Stage.ask("/restart");
            }
            return !event.hasTerminal() || ends.add(event.getTerminal().getTask().getStatus());
          });
      vaults.deleteVault(DeleteVaultRequest.newBuilder().setVaultId(vault).setForce(true).build());
    }
    assertEquals(List.of(TaskStatus.TASK_STATUS_SUCCEEDED), ends);
    Stage.passed("watch");
  }

  private static CreateVaultRequest vaultOfAServer(Gateway gateway) {
    var servers = ListProtectablesRequest.newBuilder().setProtectableType(ProtectableType.PROTECTABLE_TYPE_SERVER).build();
    var server = ProtectabilityServiceGrpc.newBlockingStub(gateway.channel()).listProtectables(servers).getInstances(0);
    var request = Stage.newVault("java-watch", 200).toBuilder();
    request.getVaultBuilder().addResourcesBuilder().setId(server.getId()).setType(server.getType());
    return request.build();
  }

  @Test
  void resume() throws Exception {
    List<String> seen = new ArrayList<>();
    try (Gateway gateway = Gateway.at(Stage.get("SCRIPT_ADDRESS")).plaintext().connect()) {
      var often = WatchTasksRequest.newBuilder().setHeartbeatInterval(Duration.newBuilder().setNanos(200_000_000)).build();
      TaskWatch.follow(gateway.channel(), often, event -> seen.add(told(event)));
      // No heartbeat that a gateway takes: it is the gateway that has to say so.
      var endless = Duration.newBuilder().setSeconds(315_576_000_000L);
      var refused = WatchTasksRequest.newBuilder().setFilter(TaskFilter.newBuilder().setVaultId("refused")).setHeartbeatInterval(endless).build();
      var error = assertThrows(GatewayException.class, () -> TaskWatch.follow(gateway.channel(), refused, event -> true));
      assertEquals(ErrorReason.ERROR_REASON_PROJECT_DENIED, error.reason());
    }
    assertEquals(Stage.get("SCRIPT_SEEN"), String.join(", ", seen));
    Stage.passed("resume");
  }

  @Test
  void closeEndsAWatch() {
    var open = WatchTasksRequest.newBuilder().setFilter(TaskFilter.newBuilder().addSubmissionIds("open")).build();
    Gateway gateway = Gateway.at(Stage.get("SCRIPT_ADDRESS")).plaintext().connect();
    Predicate<WatchTasksResponse> closing =
        event -> {
          gateway.close();
          return true;
        };
    Executable watch = () -> assertThrows(GatewayException.class, () -> TaskWatch.follow(gateway.channel(), open, closing));
    assertTimeoutPreemptively(java.time.Duration.ofSeconds(30), watch);
  }

  /** An event in words: its kind, and the revision of its task. */
  private static String told(WatchTasksResponse event) {
    String kind = event.getEventCase().name().toLowerCase();
    return switch (event.getEventCase()) {
      case SNAPSHOT_TASK -> kind + " " + event.getSnapshotTask().getRevision();
      case UPDATE -> kind + " " + event.getUpdate().getTask().getRevision();
      case TERMINAL -> kind + " " + event.getTerminal().getTask().getRevision();
      default -> kind;
    };
  }
}
