#!/usr/bin/env bash
# Guess:   Leaving `for await (const message of client.watch(...))` by `break`, `return` or an exception ends the call, as it ends any other stream of Node: the
#          loop destroys the stream, the server hears that nobody listens, and the place on the connection is free again.
# Happens: The stream is destroyed on this side only. Nothing is sent to the server: its handler goes on writing (until flow control stops it) and is never
#          cancelled, and the call still counts among the concurrent streams of the connection. When these are used up (here 3) every further call of the
#          channel, a unary one too, waits until its deadline: DEADLINE_EXCEEDED with a healthy server, hours after the loops that caused it.
# Version: @grpc/grpc-js 1.14.7, Node 20
# Source:  running it; issue 1238 of grpc/grpc-node, open since 2019: ClientReadableStreamImpl of build/src/call.js has no `_destroy`
# Advice:  Keep the call: `const call = client.watch(...); try { for await (...) { ... } } finally { call.cancel(); }`. A call with a deadline ends with it at
#          least. Clients made with Connect or nice-grpc cancel by themselves.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm install --silent --no-audit --no-fund --ignore-scripts @grpc/grpc-js@1.14.7 >/dev/null

cat >look.mjs <<'JAVASCRIPT'
import * as grpc from "@grpc/grpc-js";

const PLACES = 3;
const text = { requestSerialize: Buffer.from, requestDeserialize: String, responseSerialize: Buffer.from, responseDeserialize: String };
const service = {
  watch: { path: "/finding.Tasks/Watch", requestStream: false, responseStream: true, ...text },
  get: { path: "/finding.Tasks/Get", requestStream: false, responseStream: false, ...text },
};
let cancelled = 0;
const server = new grpc.Server({ "grpc.max_concurrent_streams": PLACES });
server.addService(service, {
  watch(call) {
    const timer = setInterval(() => call.write("running"), 20);
    call.on("cancelled", () => {
      cancelled += 1;
      clearInterval(timer);
    });
  },
  get: (_call, answer) => answer(null, "task"),
});
const port = await new Promise((resolve, reject) =>
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound))),
);
const Client = grpc.makeGenericClientConstructor(service, "Tasks");

async function leaveByBreak(client) {
  for await (const _message of client.watch("all")) break;
}

async function leaveAndCancel(client) {
  const call = client.watch("all");
  try {
    for await (const _message of call) break;
  } finally {
    call.cancel();
  }
}

// How many calls the server knows to be over after the loops were left, and how a unary call ends then.
async function look(leave) {
  cancelled = 0;
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  for (let each = 0; each < PLACES; each += 1) await leave(client);
  const code = await new Promise((resolve) =>
    client.get("one", { deadline: Date.now() + 3000 }, (error) => resolve(grpc.status[error?.code ?? grpc.status.OK])),
  );
  const seen = `${cancelled} of ${PLACES} calls cancelled, the next call: ${code}`;
  client.close();
  return seen;
}

const left = await look(leaveByBreak);
const ended = await look(leaveAndCancel);
console.log(`left by break:      ${left}\nleft and cancelled: ${ended}`);
const changed = left !== "0 of 3 calls cancelled, the next call: DEADLINE_EXCEEDED" || ended !== "3 of 3 calls cancelled, the next call: OK";
if (changed) console.log("CHANGED: this is not what the head of this script describes");
process.exit(changed ? 1 : 0);
JAVASCRIPT

node look.mjs
