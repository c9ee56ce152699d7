// The life of a backup: a vault for a server, a backup, a restore, and nothing left behind.
import { readFileSync } from "node:fs";

import { connect, GatewayError, watchTasks, type Gateway } from "cbrgateway";
import { BackupService } from "cbrgateway/v1/backup";
import { CheckpointService } from "cbrgateway/v1/checkpoint";
import { ProtectabilityService, ProtectableType } from "cbrgateway/v1/protectability";
import { TaskStatus } from "cbrgateway/v1/task";
import { ConsistentLevel, ObjectType, ProtectType, type Submission } from "cbrgateway/v1/types";
import { VaultService } from "cbrgateway/v1/vault";

const { CBR_ADDRESS: address = "127.0.0.1:50051", CBR_API_KEY: apiKey = "", CBR_CA_FILE: file } = process.env;

async function tell(gateway: Gateway): Promise<void> {
  const vaults = gateway.client(VaultService);
  const { instances } = await gateway.client(ProtectabilityService).listProtectables({ protectableType: ProtectableType.SERVER });
  const server = instances.find(({ protectable }) => protectable?.result && !protectable.vault);
  if (!server) throw new Error("no server is free");

  const { vault } = await vaults.createVault({
    vault: {
      name: "typescript-example",
      resources: [{ id: server.id, type: server.type }],
      billing: {
        sizeGib: 200,
        objectType: ObjectType.SERVER,
        protectType: ProtectType.BACKUP,
        consistentLevel: ConsistentLevel.CRASH_CONSISTENT,
      },
    },
  });
  const vaultId = vault!.id;
  console.log(`vault ${vaultId} holds ${server.name}`);

  const { checkpoint, submission } = await gateway.client(CheckpointService).createCheckpoint({ checkpoint: { vaultId } });
  await finish(gateway, "backup", submission);
  const { backups } = await gateway.client(BackupService).listBackups({ checkpointId: checkpoint!.id });
  const backupId = backups[0]!.id;
  console.log(`backup ${backupId}`);

  await finish(gateway, "restore", (await gateway.client(BackupService).restoreBackup({ backupId, restore: { serverId: server.id } })).submission);
  await finish(gateway, "deletion", (await vaults.deleteVault({ vaultId, force: true })).submission);
}

/** Follows what a call has started to its end. */
async function finish(gateway: Gateway, title: string, started: Submission | undefined): Promise<void> {
  for (const left of started!.skippedResources) console.log(title, "skipped by CBR:", left.id, left.code, left.reason);
  for await (const { event } of watchTasks(gateway, { filter: { submissionIds: [started!.id] }, endWhenAllTerminal: true })) {
    if (event.case === "update") console.log(title, event.value.task?.details?.common?.progressPercent ?? 0, "%");
    if (event.case === "terminal") console.log(title, TaskStatus[event.value.task!.status]);
  }
}

const gateway = connect({ address, apiKey, ...(file ? { authorities: readFileSync(file) } : { plaintext: true }) });
try {
  await tell(gateway);
} catch (error) {
  if (error instanceof GatewayError) console.error(error.message, error.fields, error.retryDelayMs);
  process.exitCode = 1;
  throw error;
} finally {
  gateway.close();
}
