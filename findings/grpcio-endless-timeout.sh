#!/usr/bin/env bash
# Guess:   In gRPC's Python API a `timeout` that is very large, or infinite, is a call without a deadline: it takes as long as it takes.
# Happens: Up to about three years it is a deadline. From 10^10 seconds on, `math.inf` included, the call fails at once with DEADLINE_EXCEEDED, before anything is
#          sent. In between the server is told less than was asked for: 10^9 seconds arrive as 97,200,000 (27,000 hours), since the deadline travels in eight
#          digits. Without a timeout `time_remaining()` in a handler of the synchronous server answers 9.2 * 10^18, not None.
# Version: grpcio 1.85.1, Python 3.11
# Source:  running it; gRPC over HTTP/2, "TimeoutValue": at most 8 digits
# Advice:  Give `timeout=None` for no deadline. Where users configure it, map infinity, and everything beyond a year or so, to None.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check grpcio==1.85.1

cat >look.py <<'PYTHON'
import math
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

server = grpc.server(ThreadPoolExecutor(1))
left = grpc.unary_unary_rpc_method_handler(lambda _request, context: str(context.time_remaining()).encode())
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("finding.Clock", {"Left": left})])
port = server.add_insecure_port("127.0.0.1:0")
server.start()

seen = {}
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    call = channel.unary_unary("/finding.Clock/Left")
    for timeout in (None, 5, 1e6, 1e9, 1e10, math.inf):
        try:
            seen[timeout] = float(call(b"", timeout=timeout))
        except grpc.RpcError as error:
            seen[timeout] = error.code().name
        print(f"timeout {timeout}: {seen[timeout]}")
server.stop(None).wait()

as_described = (
    seen[None] > 9e18
    and 4 < seen[5] < 6
    and seen[1e6] > 9e5
    and 9.7e7 < seen[1e9] < 9.8e7
    and seen[1e10] == seen[math.inf] == "DEADLINE_EXCEEDED"
)
if not as_described:
    print("CHANGED: this is not what the head of this script describes")
sys.exit(not as_described)
PYTHON

environment/bin/python look.py
