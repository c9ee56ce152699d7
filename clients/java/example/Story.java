import com.cbrgateway.client.Gateway;
import com.cbrgateway.client.GatewayException;
import com.cbrgateway.client.TaskWatch;
import com.cbrgateway.v1.BackupServiceGrpc;
import com.cbrgateway.v1.BillingSpec;
import com.cbrgateway.v1.CheckpointServiceGrpc;
import com.cbrgateway.v1.CheckpointSpec;
import com.cbrgateway.v1.ConsistentLevel;
import com.cbrgateway.v1.CreateCheckpointRequest;
import com.cbrgateway.v1.CreateVaultRequest;
import com.cbrgateway.v1.DeleteVaultRequest;
import com.cbrgateway.v1.ListBackupsRequest;
import com.cbrgateway.v1.ListProtectablesRequest;
import com.cbrgateway.v1.ObjectType;
import com.cbrgateway.v1.ProtectType;
import com.cbrgateway.v1.Protectable;
import com.cbrgateway.v1.ProtectabilityServiceGrpc;
import com.cbrgateway.v1.ProtectableType;
import com.cbrgateway.v1.ResourceRef;
import com.cbrgateway.v1.RestoreBackupRequest;
import com.cbrgateway.v1.RestoreSpec;
import com.cbrgateway.v1.Submission;
import com.cbrgateway.v1.TaskFilter;
import com.cbrgateway.v1.VaultServiceGrpc;
import com.cbrgateway.v1.VaultSpec;
import com.cbrgateway.v1.WatchTasksRequest;
import io.grpc.Channel;
import io.grpc.StatusRuntimeException;
import java.io.File;

/** The life of a backup: a vault for a server, a backup, a restore, and nothing left behind. */
public final class Story {
  private final Channel channel;

  private Story(Channel channel) {
    this.channel = channel;
  }

  public static void main(String[] arguments) throws Exception {
    var builder = Gateway.at(System.getenv("CBR_ADDRESS")).apiKey(System.getenv("CBR_API_KEY"));
    String authorities = System.getenv("CBR_CA_FILE");
    try (Gateway gateway = (authorities == null ? builder.plaintext() : builder.authorities(new File(authorities))).connect()) {
      new Story(gateway.channel()).tell();
    } catch (StatusRuntimeException | GatewayException failure) {
      var why = GatewayException.of(failure);
      System.err.printf("%s%nreason %s, fields %s, repeat after %s%n", why.getMessage(), why.reason(), why.fields(), why.retryDelay());
      System.exit(1);
    }
  }

  private void tell() throws GatewayException, InterruptedException {
    var vaults = VaultServiceGrpc.newBlockingStub(channel);
    var backups = BackupServiceGrpc.newBlockingStub(channel);
    Protectable server = freeServer();

    var billing =
        BillingSpec.newBuilder()
            .setSizeGib(200)
            .setObjectType(ObjectType.OBJECT_TYPE_SERVER)
            .setProtectType(ProtectType.PROTECT_TYPE_BACKUP)
            .setConsistentLevel(ConsistentLevel.CONSISTENT_LEVEL_CRASH_CONSISTENT);
    var resource = ResourceRef.newBuilder().setId(server.getId()).setType(server.getType());
    var spec = VaultSpec.newBuilder().setName("java-example").setBilling(billing).addResources(resource);
    String vault = vaults.createVault(CreateVaultRequest.newBuilder().setVault(spec).build()).getVault().getId();
    System.out.println("vault " + vault + " holds " + server.getName());

    var checkpoint = CreateCheckpointRequest.newBuilder().setCheckpoint(CheckpointSpec.newBuilder().setVaultId(vault)).build();
    var made = CheckpointServiceGrpc.newBlockingStub(channel).createCheckpoint(checkpoint);
    finish("backup", made.getSubmission());
    String backup = backups.listBackups(ListBackupsRequest.newBuilder().setCheckpointId(made.getCheckpoint().getId()).build()).getBackups(0).getId();
    System.out.println("backup " + backup);

    var restore = RestoreSpec.newBuilder().setServerId(server.getId());
    finish("restore", backups.restoreBackup(RestoreBackupRequest.newBuilder().setBackupId(backup).setRestore(restore).build()).getSubmission());
    finish("deletion", vaults.deleteVault(DeleteVaultRequest.newBuilder().setVaultId(vault).setForce(true).build()).getSubmission());
  }

  private Protectable freeServer() {
    var servers = ListProtectablesRequest.newBuilder().setProtectableType(ProtectableType.PROTECTABLE_TYPE_SERVER).build();
    return ProtectabilityServiceGrpc.newBlockingStub(channel).listProtectables(servers).getInstancesList().stream()
        .filter(server -> server.getProtectable().getResult() && !server.getProtectable().hasVault())
        .findFirst()
        .orElseThrow(() -> new IllegalStateException("no server is free"));
  }

  /** Follows what a call has started to its end. */
  private void finish(String title, Submission started) throws GatewayException, InterruptedException {
    for (var left : started.getSkippedResourcesList()) {
      System.out.println(title + " skipped by CBR: " + left.getId() + " " + left.getCode() + " " + left.getReason());
    }
    var filter = TaskFilter.newBuilder().addSubmissionIds(started.getId());
    var request = WatchTasksRequest.newBuilder().setFilter(filter).setEndWhenAllTerminal(true).build();
    TaskWatch.follow(
        channel,
        request,
        event -> {
          switch (event.getEventCase()) {
            case UPDATE -> System.out.println(title + " " + event.getUpdate().getTask().getDetails().getCommon().getProgressPercent() + " %");
            case TERMINAL -> System.out.println(title + " " + event.getTerminal().getTask().getStatus());
            default -> {}
          }
          return true;
        });
  }
}
