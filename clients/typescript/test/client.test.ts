import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";

import { fromBinary, toBinary, type Message } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import { connect, GatewayError, retryWhenLimited, watchTasks, type ConnectOptions, type Gateway } from "../src/index.js";
import { CheckpointResourceSchema, CheckpointService, type CheckpointResource } from "../src/gen/cbrgateway/v1/checkpoint_pb.js";
import { ErrorReason } from "../src/gen/cbrgateway/v1/errors_pb.js";
import { TaskSchema, TaskService, TaskStatus, type Task, type WatchTasksResponse } from "../src/gen/cbrgateway/v1/task_pb.js";
import { ProtectabilityService, ProtectableType } from "../src/gen/cbrgateway/v1/protectability_pb.js";
import { ConsistentLevel, ObjectType, ProtectType } from "../src/gen/cbrgateway/v1/types_pb.js";
import { ListVaultsResponseSchema, VaultService, type ListVaultsResponse } from "../src/gen/cbrgateway/v1/vault_pb.js";

const given = (name: string): string => process.env[`CBR_TEST_${name}`] ?? "";
const ADDRESS = given("ADDRESS");

/** A test whose success is noted as that of a check. */
function check(name: string, body: (gateway: Gateway) => Promise<void>, options: Partial<ConnectOptions> = {}): void {
  test(name, { timeout: 60_000 }, async () => {
    const gateway = connect({ address: ADDRESS, apiKey: given("API_KEY"), authorities: readFileSync(given("CA_FILE")), ...options });
    try {
      await body(gateway);
    } finally {
      gateway.close();
    }
    writeFileSync(`${given("RESULTS")}/${name}`, "");
  });
}

async function ask(request: string): Promise<string> {
  const reply = await fetch(given("CONTROL") + request, { method: "POST" });
  assert.equal(reply.status, 200);
  return reply.text();
}

function newVault(name: string, sizeGib = 100) {
  return {
    vault: {
      name,
      billing: {
        sizeGib,
        objectType: ObjectType.SERVER,
        protectType: ProtectType.BACKUP,
        consistentLevel: ConsistentLevel.CRASH_CONSISTENT,
      },
    },
  };
}

async function failure(code: status, call: Promise<unknown>, ...words: string[]): Promise<GatewayError> {
  const error = await call.then(
    () => assert.fail("the call went through"),
    (reason: unknown) => reason,
  );
  assert(error instanceof GatewayError);
  assert.equal(error.code, code, error.message);
  for (const word of words) assert(error.message.includes(word), `${word} in ${error.message}`);
  return error;
}

check("unary", async (gateway) => {
  const vaults = gateway.client(VaultService);
  const vaultId = (await vaults.createVault(newVault("ts-unary"))).vault!.id;
  assert.equal((await vaults.getVault({ vaultId })).vault?.name, "ts-unary");
  assert((await vaults.listVaults({})).vaults.length > 0);
  await vaults.deleteVault({ vaultId });
});

let token: () => string | Promise<string> = () => given("TOKEN");
check(
  "token",
  async (gateway) => {
    const { listVaults } = gateway.client(VaultService);
    await listVaults({});
    token = () => "hidden\n";
    assert(!(await failure(status.UNAUTHENTICATED, listVaults({}), "the token")).message.includes("hidden"));
    token = () => new Promise(() => {});
    assert.equal((await failure(status.DEADLINE_EXCEEDED, listVaults({}, { timeoutMs: 50 }), "deadline", "token")).kind, "deadline");
    await failure(status.CANCELLED, listVaults({}, { signal: AbortSignal.timeout(50) }), "token");
    await failure(status.CANCELLED, listVaults({}, { signal: AbortSignal.abort() }));
    token = () => assert.fail("no token");
    await assert.rejects(listVaults({}), /no token/);
  },
  { token: () => token() },
);

check("error", async (gateway) => {
  const error = await failure(status.INVALID_ARGUMENT, gateway.client(VaultService).createVault(newVault("ts-error", 5)), "FIELD_INVALID");
  assert.equal(error.kind, "answered");
  assert.equal(error.reason, ErrorReason.FIELD_INVALID);
  assert.deepEqual(
    error.fields.map((each) => each.field),
    ["vault.billing.size_gib"],
  );
  assert(error.callId && error.requestId);
});

check("retry", async (gateway) => {
  await ask("/fault?operation=CreateVault&kind=cut&when=after_commit&times=1");
  assert.equal((await gateway.client(VaultService).createVault(newVault("ts-retry"))).vault?.name, "ts-retry");
  assert.equal(await ask("/requests?operation=CreateVault&containing=ts-retry"), "1");
});

check(
  "quota",
  async (gateway) => {
    const list = () => gateway.client(VaultService).listVaults({});
    const often = async () => {
      for (let i = 0; i < 50; i++) await list();
    };
    const error = await failure(status.RESOURCE_EXHAUSTED, often(), "RATE_LIMIT");
    assert(error.retryDelayMs > 0);
    assert.equal(error.quotas[0]?.quotaMetric, "requests");
    const began = Date.now();
    await retryWhenLimited(Infinity, list);
    assert(Date.now() - began > error.retryDelayMs / 2);
    assert.throws(() => retryWhenLimited(NaN, list), TypeError);
  },
  { apiKey: given("LIMITED_KEY") },
);

check(
  "retry-when-limited",
  async (gateway) => {
    const { vault } = await retryWhenLimited(30_000, () => gateway.client(VaultService).createVault(newVault("ts-limited")));
    assert.equal(vault?.id, "made");
  },
  { address: given("SCRIPT_ADDRESS"), plaintext: true },
);

check(
  "wrong-key",
  async (gateway) => {
    const misread = () => connect({ address: ADDRESS, apiKey: "hidden\n" });
    assert.throws(misread, (error: Error) => error instanceof TypeError && error.message.includes("apiKey") && !error.message.includes("hidden"));
    await failure(status.UNAUTHENTICATED, gateway.client(VaultService).listVaults({}), "CREDENTIALS_INVALID", "API key");
  },
  { apiKey: "nobody's" },
);

check(
  "wrong-ca",
  async (gateway) => {
    const error = await failure(status.UNAVAILABLE, gateway.client(VaultService).listVaults({}), "certificate", ADDRESS);
    assert.equal(error.kind, "untrusted");
  },
  { authorities: readFileSync(given("OTHER_CA_FILE")) },
);

check(
  "unreachable",
  async (gateway) => {
    const error = await failure(status.UNAVAILABLE, gateway.client(VaultService).listVaults({}), "cannot be reached", given("CLOSED_ADDRESS"));
    assert.equal(error.kind, "unreachable");
    const encrypting = connect({ address: given("SCRIPT_ADDRESS") });
    assert.equal((await failure(status.UNAVAILABLE, encrypting.client(VaultService).listVaults({}), "SSL")).kind, "unreachable");
    encrypting.close();
  },
  { address: given("CLOSED_ADDRESS"), plaintext: true },
);

check("deadline", async (gateway) => {
  const { listVaults } = gateway.client(VaultService);
  for (const timeoutMs of [Infinity, Number.MAX_VALUE, 1e18, Number.MAX_SAFE_INTEGER, 2 ** 31, 2 ** 31 - 1, 86_400_000]) {
    await listVaults({}, { timeoutMs });
    for await (const event of gateway.client(TaskService).watchTasks({}, { timeoutMs })) {
      assert(event.resumeToken);
      break;
    }
  }
  for (const timeoutMs of [NaN, "soon" as never, null as never]) await assert.rejects(listVaults({}, { timeoutMs }), TypeError);
  for (const timeoutMs of [0, -1, -Infinity]) await failure(status.DEADLINE_EXCEEDED, listVaults({}, { timeoutMs }), "deadline");
  await ask("/fault?operation=ListVault&kind=delay&seconds=4&times=null");
  try {
    await failure(status.DEADLINE_EXCEEDED, gateway.client(VaultService).listVaults({}, { timeoutMs: 1000 }), "deadline");
  } finally {
    await ask("/calm");
  }
});

check("watch", async (gateway) => {
  const vaults = gateway.client(VaultService);
  const { instances } = await gateway.client(ProtectabilityService).listProtectables({ protectableType: ProtectableType.SERVER });
  const { vault: spec } = newVault("ts-watch", 200);
  const vaultId = (await vaults.createVault({ vault: { ...spec, resources: [{ id: instances[0]!.id, type: instances[0]!.type }] } })).vault!.id;
  const { submission } = await gateway.client(CheckpointService).createCheckpoint({ checkpoint: { vaultId } });
  const ends: (TaskStatus | undefined)[] = [];
  let restarted = false;
  for await (const { event } of watchTasks(gateway, { filter: { submissionIds: [submission!.id] }, endWhenAllTerminal: true })) {
    if (!restarted) await ask("/restart");
    restarted = true;
    if (event.case === "terminal") ends.push(event.value.task?.status);
  }
  assert.deepEqual(ends, [TaskStatus.SUCCEEDED]);
  await vaults.deleteVault({ vaultId, force: true });
});

/** An event in words: its kind, and the revision of its task. */
function told({ event }: WatchTasksResponse): string {
  const kind = event.case?.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`) ?? "";
  if (event.case === "snapshotTask") return `${kind} ${event.value.revision}`;
  return event.case === "update" || event.case === "terminal" ? `${kind} ${event.value.task?.revision}` : kind;
}

check(
  "resume",
  async (gateway) => {
    const seen: string[] = [];
    for await (const event of watchTasks(gateway, { heartbeatInterval: { nanos: 200_000_000 } })) seen.push(told(event));
    assert.equal(seen.join(", "), given("SCRIPT_SEEN"));
    // No heartbeat that a gateway takes: it is the gateway that has to say so.
    const refused = watchTasks(gateway, { filter: { vaultId: "refused" }, heartbeatInterval: { seconds: 10n ** 10n } }).next();
    assert.equal((await failure(status.PERMISSION_DENIED, refused)).reason, ErrorReason.PROJECT_DENIED);
  },
  { address: given("SCRIPT_ADDRESS"), plaintext: true },
);

const SCHEMAS = { Task: TaskSchema, CheckpointResource: CheckpointResourceSchema, ListVaultsResponse: ListVaultsResponseSchema };

function facts(message: Message): Record<string, unknown> {
  switch (message.$typeName) {
    case "cbrgateway.v1.Task": {
      const { type, typeRaw, status, startTime, endTime, details } = message as Task;
      return {
        type,
        type_raw: typeRaw,
        status,
        progress_percent: details?.common?.progressPercent ?? "unset",
        start_seconds: startTime?.seconds,
        start_nanos: startTime?.nanos,
        end_time: endTime?.seconds ?? "unset",
      };
    }
    case "cbrgateway.v1.CheckpointResource":
      return { backup_size_mib: (message as CheckpointResource).backupSizeMib };
    default: {
      const { vaults } = message as ListVaultsResponse;
      return { count: vaults.length, last_id: vaults.at(-1)?.id, last_used_mib: vaults.at(-1)?.billing?.usedMib };
    }
  }
}

check("vectors", async () => {
  const vectors: { name: string; message: keyof typeof SCHEMAS; facts: Record<string, string>; base64: string }[] = JSON.parse(
    readFileSync(given("VECTORS"), "utf8"),
  );
  assert(vectors.length > 0);
  for (const vector of vectors) {
    const schema = SCHEMAS[vector.message];
    const message = fromBinary(schema, Buffer.from(vector.base64, "base64"));
    const found = facts(message);
    for (const [fact, value] of Object.entries(vector.facts)) assert.equal(String(found[fact]), value, `${vector.name}: ${fact}`);
    assert.equal(Buffer.from(toBinary(schema, message)).toString("base64"), vector.base64, vector.name);
  }
});
