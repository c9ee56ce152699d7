// The clients of Connect and gRPC-Web as their makers publish them, against the HTTP listener: those for Node, and those for browsers, whose
// `fetch` trusts the authority of the tests in a process of its own.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import * as forNode from "@connectrpc/connect-node";
import * as forBrowsers from "@connectrpc/connect-web";

import { TaskService } from "../src/gen/cbrgateway/v1/task_pb.js";
import { VaultService } from "../src/gen/cbrgateway/v1/vault_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";

const given = (name: string): string => process.env[`CBR_TEST_${name}`] ?? "";
const PROTOCOLS = ["connect", "grpc-web"] as const;
type Protocol = (typeof PROTOCOLS)[number];

/** Calls, an error with its details, and a stream. */
async function calls(transport: Transport): Promise<void> {
  const vaults = createClient(VaultService, transport);
  assert(Number((await vaults.listVaults({})).totalSize) >= 0);
  const error = ConnectError.from(
    await vaults.getVault({}).then(
      () => assert.fail("the call went through"),
      (reason: unknown) => reason,
    ),
  );
  assert.equal(error.code, Code.InvalidArgument);
  assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "FIELD_INVALID");
  assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "vault_id");
  const kinds = new Set<string | undefined>();
  for await (const event of createClient(TaskService, transport).watchTasks({ endWhenAllTerminal: true })) kinds.add(event.event.case);
  assert(kinds.has("snapshotEnd"), [...kinds].join());
  const late = ConnectError.from(
    await (async () => {
      for await (const _ of createClient(TaskService, transport).watchTasks({}, { signal: AbortSignal.timeout(500) }));
    })().then(
      () => assert.fail("the stream ended"),
      (reason: unknown) => reason,
    ),
  );
  assert([Code.Canceled, Code.DeadlineExceeded].includes(late.code), late.message);
}

const known: Interceptor = (next) => (request) => {
  request.header.set("authorization", `Bearer ${given("API_KEY")}`);
  return next(request);
};

async function page(protocol: Protocol): Promise<void> {
  const create = protocol === "connect" ? forBrowsers.createConnectTransport : forBrowsers.createGrpcWebTransport;
  for (const useBinaryFormat of [true, false])
    await calls(create({ baseUrl: `https://${given("HTTP_ADDRESS")}`, interceptors: [known], useBinaryFormat }));
}

async function node(protocol: Protocol): Promise<void> {
  const create = protocol === "connect" ? forNode.createConnectTransport : forNode.createGrpcWebTransport;
  const ca = readFileSync(given("CA_FILE"));
  for (const useBinaryFormat of [true, false])
    await calls(
      create({
        baseUrl: `https://${given("HTTP_ADDRESS")}`,
        httpVersion: "1.1",
        interceptors: [known],
        nodeOptions: { ca },
        useBinaryFormat,
      }),
    );
}

const asked = PROTOCOLS.find((protocol) => protocol === given("PAGE"));
if (asked) {
  await page(asked);
} else {
  for (const protocol of PROTOCOLS)
    test(protocol, { timeout: 60_000 }, async () => {
      await node(protocol);
      const env = { ...process.env, CBR_TEST_PAGE: protocol, NODE_EXTRA_CA_CERTS: given("CA_FILE") };
      await promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url)], { env });
      writeFileSync(`${given("RESULTS")}/${protocol}`, "");
    });
}
