// The life of a backup: a vault for a server, a backup, a restore, and nothing left behind.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { connect, GatewayError, type Gateway } from "cbrgateway";
import { BackupService } from "cbrgateway/v1/backup";
import { CheckpointService } from "cbrgateway/v1/checkpoint";
import { ProtectabilityService, ProtectableType } from "cbrgateway/v1/protectability";
import { TaskService, TaskStatus, TaskType } from "cbrgateway/v1/task";
import { ConsistentLevel, ObjectType, ProtectType } from "cbrgateway/v1/types";
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

  const { checkpoint } = await gateway.client(CheckpointService).createCheckpoint({ checkpoint: { vaultId } });
  await finish(gateway, vaultId, TaskType.BACKUP);
  const { backups } = await gateway.client(BackupService).listBackups({ checkpointId: checkpoint!.id });
  const backupId = backups[0]!.id;
  console.log(`backup ${backupId}`);

  await gateway.client(BackupService).restoreBackup({ backupId, restore: { serverId: server.id } });
  await finish(gateway, vaultId, TaskType.RESTORE);
  await vaults.deleteVault({ vaultId });
  await finish(gateway, vaultId, TaskType.VAULT_DELETE);
}

/** Waits for the only task of its kind in a vault. */
async function finish(gateway: Gateway, vaultId: string, type: TaskType): Promise<void> {
  for (;;) {
    const { tasks } = await gateway.client(TaskService).listTasks({ vaultId, type });
    if (tasks[0]?.endTime) {
      console.log(TaskType[type], TaskStatus[tasks[0].status]);
      return;
    }
    await sleep(1000);
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
