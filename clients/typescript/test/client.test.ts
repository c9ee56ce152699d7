import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { create, fromBinary, toBinary, type Message } from "@bufbuild/protobuf";
import { InterceptingCall, status, type Interceptor } from "@grpc/grpc-js";

import {
  connect,
  GatewayError,
  json,
  pages,
  retryWhenLimited,
  rows,
  runAndWait,
  TaskFailed,
  wait,
  watchTasks,
  type ConnectOptions,
  type Gateway,
  type Target,
} from "../src/index.js";
import { CheckpointResourceSchema, CheckpointService, type CheckpointResource } from "../src/gen/cbrgateway/v1/checkpoint_pb.js";
import { ErrorReason } from "../src/gen/cbrgateway/v1/errors_pb.js";
import { TaskSchema, TaskService, TaskStatus, TaskType, type Task, type WatchTasksResponse } from "../src/gen/cbrgateway/v1/task_pb.js";
import { ProtectabilityService, ProtectableType } from "../src/gen/cbrgateway/v1/protectability_pb.js";
import { ConsistentLevel, ObjectType, ProtectType, SubmissionSchema } from "../src/gen/cbrgateway/v1/types_pb.js";
import { ListVaultsRequestSchema, ListVaultsResponseSchema, VaultService, type ListVaultsResponse } from "../src/gen/cbrgateway/v1/vault_pb.js";

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
  "retry-large",
  async (gateway) => {
    const large = { ...newVault("ts-large").vault, description: "x".repeat(1024 * 1024) };
    assert.equal((await gateway.client(VaultService).createVault({ vault: large })).vault?.id, "made");
  },
  { address: given("SCRIPT_ADDRESS"), plaintext: true },
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

const SCRIPT = { address: given("SCRIPT_ADDRESS"), plaintext: true };

check("waits", async (gateway) => {
  const { instances } = await gateway.client(ProtectabilityService).listProtectables({ protectableType: ProtectableType.SERVER });
  const { id, type } = instances.find(({ protectable }) => !protectable?.vault)!;
  const { vault: spec } = newVault("ts-waits", 200);
  const vaults = gateway.client(VaultService);
  const vaultId = (await vaults.createVault({ vault: { ...spec, resources: [{ id, type }] } })).vault!.id;
  const made = await runAndWait(gateway, () => gateway.client(CheckpointService).createCheckpoint({ checkpoint: { vaultId } }));
  assert(made.answer.checkpoint?.id);
  assert.deepEqual(
    made.tasks.map((task) => task.type),
    [TaskType.BACKUP],
  );
  assert.equal((await wait(gateway, made.tasks[0])).tasks.length, 1);
  const deleted = await runAndWait(gateway, () => vaults.deleteVault({ vaultId, force: true }), { timeoutMs: 50_000 });
  assert.equal(deleted.tasks.length, 1);
  const script = connect(SCRIPT);
  try {
    await waitsOfTheScript(script);
  } finally {
    script.close();
  }
});

async function waitsOfTheScript(gateway: Gateway): Promise<void> {
  const submission = (id: string): Target => create(SubmissionSchema, { id });
  const failing = async (...what: Target[]): Promise<TaskFailed> => {
    const error = await wait(gateway, what).catch((reason: unknown) => reason);
    assert(error instanceof TaskFailed, String(error));
    return error;
  };
  const ended = await wait(gateway, submission("skipping"));
  assert.deepEqual([ended.tasks[0]?.id, ended.skipped[0]?.id, ended.skipped[0]?.code], ["good", "left-out", "BackupService.6125"]);
  const failed = await failing(submission("failing"), submission("skipping"));
  const [bad] = failed.failures;
  assert.deepEqual([bad?.task?.id, bad?.code, bad?.reason], ["bad", "BackupService.1204", ErrorReason.UPSTREAM_INTERNAL]);
  assert.deepEqual([failed.ended.tasks.length, failed.ended.skipped.length], [1, 1]);
  assert(failed.message.includes("BackupService.1204, UPSTREAM_INTERNAL"), failed.message);
  assert.deepEqual(json(TaskSchema, bad!.task!), JSON.parse(JSON.stringify(json(TaskSchema, bad!.task!))));
  assert.equal((await failing(submission("nothing"))).failures[0]?.id, "nothing");
  assert.equal((await failing(submission("lost"))).failures[0]?.reason, ErrorReason.SUBMISSION_NOT_FOUND);
  const late = await failure(status.DEADLINE_EXCEEDED, wait(gateway, [submission("open"), submission("skipping")], { timeoutMs: 3000 }), "slow");
  assert.deepEqual([late.kind, late.stillOpen], ["deadline", ["slow"]]);
  await failure(status.CANCELLED, wait(gateway, submission("open"), { signal: AbortSignal.timeout(100) }));
  const many = Array.from({ length: 500 }, (_, number) => `task-${number % 250}`);
  assert.equal((await wait(gateway, many)).tasks.length, 250);
  assert.deepEqual(await wait(gateway, []), { tasks: [], skipped: [] });
  await assert.rejects(wait(gateway, undefined), /no id/);
}

check(
  "pages",
  async (script) => {
    const { listVaults } = script.client(VaultService);
    const request = { name: "pages" };
    for (const prefetch of [false, true]) {
      const found: string[] = [];
      for await (const vault of rows(listVaults, request, (page) => page.vaults, { prefetch })) found.push(vault.id);
      assert.deepEqual(found, ["one", "two", "three"]);
      let count = 0;
      for await (const page of pages(listVaults, request, { prefetch })) count += page ? 1 : 0;
      assert.equal(count, 3);
      await failure(status.FAILED_PRECONDITION, rows(listVaults, {}, (page) => page.vaults, { prefetch }).next(), "STATE_INVALID");
      for await (const _ of pages(listVaults, create(ListVaultsRequestSchema, request), { prefetch })) break;
    }
    const last = pages(listVaults, { ...request, pageToken: "3" });
    assert.equal((await last.next()).value?.vaults[0]?.id, "three");
    const gateway = connect({ address: ADDRESS, apiKey: given("API_KEY"), authorities: readFileSync(given("CA_FILE")) });
    try {
      const vaults = gateway.client(VaultService);
      const oneByOne: string[] = [];
      for await (const vault of rows(vaults.listVaults, { pageSize: 1 }, (page) => page.vaults, { prefetch: true })) oneByOne.push(vault.id);
      assert.deepEqual(
        oneByOne,
        (await vaults.listVaults({})).vaults.map((vault) => vault.id),
      );
    } finally {
      gateway.close();
    }
  },
  SCRIPT,
);

test("client-certificate", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "cbr-"));
  const files = { certificate: join(folder, "own.crt"), key: join(folder, "own.key") };
  const put = (certificate: string, key: string) => {
    copyFileSync(given(certificate), files.certificate);
    copyFileSync(given(key), files.key);
  };
  const mutual = { address: given("MUTUAL_ADDRESS"), authorities: readFileSync(given("CA_FILE")) };
  const list = (gateway: Gateway) => gateway.client(VaultService).listVaults({ name: "pages" });
  const once = async (options: Partial<ConnectOptions>): Promise<unknown> => {
    const gateway = connect({ ...mutual, ...options });
    return list(gateway).finally(() => gateway.close());
  };
  await failure(status.UNAVAILABLE, once({}));
  put("OTHER_CERTIFICATE_FILE", "OTHER_KEY_FILE");
  const gateway = connect({ ...mutual, certificate: files });
  try {
    await failure(status.UNAVAILABLE, list(gateway));
    put("CERTIFICATE_FILE", "KEY_FILE");
    for (let tries = 0; ; tries++) {
      // The files are looked at each second.
      if (await list(gateway).catch(() => tries > 20)) break;
    }
    await list(gateway);
  } finally {
    gateway.close();
  }
  await once({ certificate: { certificate: readFileSync(files.certificate), key: readFileSync(files.key) } });
  assert.throws(() => connect({ ...mutual, certificate: { certificate: "nowhere.crt", key: "nowhere.key" } }), /nowhere.crt/);
  rmSync(folder, { recursive: true });
  writeFileSync(`${given("RESULTS")}/client-certificate`, "");
});

test("kinds", { timeout: 60_000 }, async () => {
  const authorities = readFileSync(given("CA_FILE"));
  const cases: [kind: string, options: ConnectOptions, ...words: string[]][] = [
    ["expired_certificate", { address: given("EXPIRED_ADDRESS"), authorities }, "out of date"],
    ["plaintext_expected", { address: given("SCRIPT_ADDRESS"), authorities }, "speaks plain text"],
    ["tls_expected", { address: ADDRESS, plaintext: true }, "without plaintext"],
    ["tls_expected", { address: given("MUTUAL_ADDRESS"), plaintext: true }, "without plaintext"],
  ];
  for (const [kind, options, ...words] of cases) {
    const gateway = connect(options);
    const error = await failure(status.UNAVAILABLE, gateway.client(VaultService).listVaults({}));
    gateway.close();
    assert.equal(error.kind, kind, error.message);
    for (const word of words) assert(error.message.includes(word), error.message);
  }
  writeFileSync(`${given("RESULTS")}/kinds`, "");
});

test("interceptors see the request_id", async () => {
  const seen: string[] = [];
  const look: Interceptor = (options, next) =>
    new InterceptingCall(next(options), {
      sendMessage: (message, send) => {
        seen.push((message as { requestId: string }).requestId);
        send(message);
      },
    });
  const gateway = connect({ ...SCRIPT, interceptors: [look], channelOptions: { "grpc.primary_user_agent": "mine" } });
  const refused = await failure(status.RESOURCE_EXHAUSTED, gateway.client(VaultService).createVault(newVault("ts-intercepted")));
  gateway.close();
  assert.deepEqual(seen, [refused.requestId]);
  assert(refused.message.includes(`request_id ${refused.requestId}`), refused.message);
});

test("json", () => {
  const task = create(TaskSchema, { revision: 2n ** 60n, status: 99 as TaskStatus });
  assert.deepEqual(json(TaskSchema, task), { revision: "1152921504606846976", status: 99 });
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

check("addresses", async () => {
  const cases: { address: string; says: string }[] = JSON.parse(readFileSync(given("ADDRESSES"), "utf8"));
  assert(cases.length > 0);
  for (const { address, says } of cases) {
    const made = () => connect({ address }).close();
    if (says) assert.throws(made, new TypeError(`the address ${JSON.stringify(address)} ${says}`));
    else made();
  }
});

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
