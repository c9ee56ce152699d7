// What the servers of the other tests never do: against clients that are played here.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createServer, type AddressInfo } from "node:net";
import { mock, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { InterceptingCall, status, type Interceptor } from "@grpc/grpc-js";

import { connect, GatewayError, pages, TaskFailed, watchTasks, type Gateway } from "../src/index.js";
import { StreamEndReason, WatchTasksResponseSchema, type WatchTasksResponse } from "../src/gen/cbrgateway/v1/task_pb.js";
import { ListVaultsResponseSchema, VaultService } from "../src/gen/cbrgateway/v1/vault_pb.js";

const SCRIPT = { address: process.env["CBR_TEST_SCRIPT_ADDRESS"] ?? "", plaintext: true };

test("an error of the CommonJS form is one of the ESM form", async () => {
  const other = createRequire(import.meta.url)("../commonjs/index.js") as typeof import("../src/index.js");
  assert.notEqual(other.GatewayError, GatewayError);
  const gateway = other.connect(SCRIPT);
  const error = await gateway
    .client(VaultService)
    .listVaults({})
    .catch((reason: unknown) => reason);
  gateway.close();
  assert(error instanceof GatewayError && error instanceof other.GatewayError);
  assert.equal(error.code, status.FAILED_PRECONDITION);
  class Own extends GatewayError {}
  assert(!(error instanceof Own) && !(new Error() instanceof GatewayError) && !(error instanceof TaskFailed));
  assert(new other.TaskFailed([], { tasks: [], skipped: [] }) instanceof TaskFailed);
});

test("details that cannot be read tell nothing", async () => {
  for (const damaged of [Buffer.from([0xff]), Buffer.from("\x1a\x30\x0a\x2btype.googleapis.com/google.rpc.ErrorInfo\x12\x01\xff", "latin1")]) {
    const damage: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start: (metadata, _listener, send) =>
          send(metadata, {
            onReceiveStatus: (ended, pass) => {
              ended.metadata.set("grpc-status-details-bin", damaged);
              pass(ended);
            },
          }),
      });
    const gateway = connect({ ...SCRIPT, interceptors: [damage] });
    const error = await gateway
      .client(VaultService)
      .listVaults({})
      .catch((reason: unknown) => reason);
    gateway.close();
    assert(error instanceof GatewayError);
    assert.deepEqual([error.code, error.kind], [status.FAILED_PRECONDITION, "other"]);
  }
});

/** A gateway whose watches are these streams, one after the other. */
function playing(...streams: ((signal: AbortSignal) => AsyncIterable<WatchTasksResponse>)[]): Gateway & { opened: number } {
  const played = {
    opened: 0,
    closed: new AbortController().signal,
    client: () => ({ watchTasks: (_request: unknown, { signal }: { signal: AbortSignal }) => streams[played.opened++]!(signal) }),
  };
  return played as unknown as Gateway & { opened: number };
}

const heartbeat = create(WatchTasksResponseSchema, { sequence: 1n, event: { case: "heartbeat", value: {} } });
const over = (sequence: bigint) =>
  create(WatchTasksResponseSchema, { sequence, event: { case: "streamEnd", value: { reason: StreamEndReason.ALL_TERMINAL } } });

test("a slow caller is no silence", async () => {
  const gateway = playing(async function* (signal) {
    yield heartbeat;
    if (signal.aborted) throw GatewayError.own(status.CANCELLED, "given up");
    yield over(2n);
  });
  for await (const _ of watchTasks(gateway, { heartbeatInterval: { nanos: 4_000_000 } })) await sleep(100);
  assert.equal(gateway.opened, 1);
});

test("the time of a slow caller is none of an outage", async () => {
  const away = async function* (): AsyncGenerator<WatchTasksResponse> {
    throw GatewayError.own(status.UNAVAILABLE, "away");
  };
  const cut = async function* () {
    yield heartbeat;
    yield* away();
  };
  const back = async function* () {
    yield over(1n);
  };
  mock.timers.enable({ apis: ["Date"] });
  try {
    for await (const _ of watchTasks(playing(cut, away, away, back), {})) mock.timers.tick(120_000);
    const long = async function* () {
      mock.timers.tick(30_000);
      yield* away();
    };
    await assert.rejects(watchTasks(playing(long, long, long, long), {}).next(), /away/);
  } finally {
    mock.timers.reset();
  }
});

test("a list that does not go on ends", async () => {
  let asked = 0;
  const standing = async () => {
    asked++;
    assert(asked < 3);
    return create(ListVaultsResponseSchema, { nextPageToken: "same" });
  };
  const walk = async () => {
    for await (const _ of pages(standing, {}));
  };
  await assert.rejects(walk(), (error) => error instanceof GatewayError && error.code === status.INTERNAL && error.message.includes("does not go on"));
});

test("one signal serves many calls without a warning", async () => {
  const warned: Error[] = [];
  const note = (warning: Error) => void warned.push(warning);
  process.on("warning", note);
  const gateway = connect(SCRIPT);
  const left = new AbortController();
  const calls = Array.from({ length: 20 }, () => gateway.client(VaultService).listVaults({}, { signal: left.signal }));
  await Promise.allSettled(calls);
  gateway.close();
  process.off("warning", note);
  assert.deepEqual(warned.filter(({ name }) => name === "MaxListenersExceededWarning"), []);
});

test("close ends what is under way", { timeout: 30_000 }, async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const gateway = connect({ address: `127.0.0.1:${(silent.address() as AddressInfo).port}`, plaintext: true });
  const { listVaults } = gateway.client(VaultService);
  const ends = [listVaults({}), watchTasks(gateway, {}).next()];
  const [accepted] = await once(silent, "connection");
  gateway.close();
  for (const end of await Promise.allSettled([...ends, listVaults({}), watchTasks(gateway, {}).next()]))
    assert(end.status === "rejected" && end.reason instanceof GatewayError && end.reason.code === status.CANCELLED);
  accepted.destroy();
  silent.close();
});
