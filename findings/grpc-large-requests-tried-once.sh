#!/usr/bin/env bash
# Guess:   A `retryPolicy` of the service config repeats a call whatever its size. What a server takes (4 MiB by itself) and answers with UNAVAILABLE is sent again.
# Happens: gRPC keeps a request for repeats only as far as a buffer reaches, which the service config cannot say: 256 KiB in Python, C++, Ruby (gRPC's core) and Go,
#          1 MiB in Node and Java. A larger one is sent once; its UNAVAILABLE looks as after three attempts, and nothing is logged. So small calls survive a
#          restart of the server and the large ones, such as a batch, do not; and one size is repeated by one language and not by the other.
# Version: grpcio 1.85.1, Python 3.11; @grpc/grpc-js 1.14.7, Node 20. Seen with google.golang.org/grpc v1.85.0, too
# Source:  running it; "grpc.per_rpc_retry_buffer_size" in gRPC's list of channel arguments, MaxRetryRPCBufferSize of Go; gRPC's proposal A6 leaves the size to the language
# Advice:  Set it beside the retryPolicy, above the largest request: ("grpc.per_rpc_retry_buffer_size", bytes) in Python, C++, Ruby and Node,
#          grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(bytes)) in Go, perRpcBufferLimit in Java.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check grpcio==1.85.1
npm install --silent --no-audit --no-fund --ignore-scripts @grpc/grpc-js@1.14.7 >/dev/null

cat >config.json <<'JSON'
{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
  "retryableStatusCodes": ["UNAVAILABLE"]}}]}
JSON

cat >look.mjs <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import * as grpc from "@grpc/grpc-js";

const [port, ...sizes] = process.argv.slice(2);
const options = { "grpc.service_config": readFileSync("config.json", "utf8") };
const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), options);
for (const size of sizes)
  await new Promise((resolve) => client.makeUnaryRequest("/finding.Vaults/Add", Buffer.from, String, ".".repeat(size), { deadline: Date.now() + 30000 }, resolve));
client.close();
JAVASCRIPT

cat >look.py <<'PYTHON'
import collections
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

SIZES = (1_000, 250_000, 300_000, 1_000_000, 1_100_000)
came = collections.Counter()


def busy(request, context):
    came[len(request)] += 1
    context.abort(grpc.StatusCode.UNAVAILABLE, "busy")


def attempts(call):
    came.clear()
    call()
    return [came[size] for size in SIZES]


def python(**options):
    settings = {"grpc.service_config": Path("config.json").read_text(), **options}
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=tuple(settings.items())) as channel:
        for size in SIZES:
            try:
                channel.unary_unary("/finding.Vaults/Add")(b"." * size, timeout=30)
            except grpc.RpcError as error:
                assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "busy")


server = grpc.server(ThreadPoolExecutor(1))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("finding.Vaults", {"Add": grpc.unary_unary_rpc_method_handler(busy)})])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
seen = {
    "Python": attempts(python),
    "Node": attempts(lambda: subprocess.run(["node", "look.mjs", str(port), *map(str, SIZES)], check=True, timeout=60)),
    "Python, as advised": attempts(lambda: python(**{"grpc.per_rpc_retry_buffer_size": 2 * 1024 * 1024})),
}
server.stop(None).wait()
print(f"bytes of the request: {SIZES}")
for name, tries in seen.items():
    print(f"attempts, {name}: {tries}")
if list(seen.values()) != [[3, 3, 1, 1, 1], [3, 3, 3, 3, 1], [3, 3, 3, 3, 3]]:
    print("CHANGED: this is not what the head of this script describes")
    sys.exit(1)
PYTHON

environment/bin/python look.py
