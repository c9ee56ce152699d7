#!/usr/bin/env bash
# Guess:   An error whose details (`grpc-status-details-bin`, trailing metadata) are too large for a client fails always, so that the first test shows it; one that
#          was read once is read the next time, too.
# Happens: Between 8 and 16 KiB of trailing metadata chance decides, anew for each call, and the larger the likelier: of equal calls some end with the server's code and
#          details, the others with RESOURCE_EXHAUSTED and "Stream removed (received metadata size exceeds soft limit ...)", without details. So a change that the
#          server refused for good looks like a limit that passes, and is repeated by whoever repeats those.
# Version: grpcio 1.85.1, Python 3.11 (gRPC's core, so C++, Ruby, PHP and Objective-C, too)
# Source:  running it; grpc/grpc pull request 32600 (2023); in the docs only beside GRPC_ARG_MAX_METADATA_SIZE of channel_arg_names.h
# Advice:  Servers keep code, message and details of an error below 8 KiB together, by cutting lists of broken fields. Who calls others gives the channel
#          ("grpc.max_metadata_size", 65536); and does not repeat a RESOURCE_EXHAUSTED that says "metadata size".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check grpcio==1.85.1

cat >look.py <<'PYTHON'
import collections
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

CALLS = 200
WORDS = "the vault has backups"


def refuse(request, context):
    context.set_trailing_metadata((("grpc-status-details-bin", b"." * int(request)),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, WORDS)


server = grpc.server(ThreadPoolExecutor(1))
refusing = grpc.unary_unary_rpc_method_handler(refuse)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("finding.Vaults", {"Delete": refusing})])
port = server.add_insecure_port("127.0.0.1:0")
server.start()


def outcomes(size, **options):
    """How many of equal calls end with which code, and as what the server said."""
    seen = collections.Counter()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=tuple(options.items())) as channel:
        call = channel.unary_unary("/finding.Vaults/Delete")
        for _ in range(CALLS):
            try:
                call(str(size).encode(), timeout=30)
            except grpc.RpcError as error:
                true = error.details() == WORDS or "exceeds soft limit" in error.details()
                seen[error.code().name if true else f"{error.code().name} {error.details()}"] += 1
    return dict(seen)


REFUSED = {"FAILED_PRECONDITION": CALLS}
small, large = outcomes(6000), outcomes(12000)
allowed = outcomes(12000, **{"grpc.max_metadata_size": 65536})
server.stop(None).wait()
print(f"details of 6,000 bytes: {small}\ndetails of 12,000 bytes: {large}\nthe same with a higher limit: {allowed}")
if small != REFUSED or allowed != REFUSED or set(large) != {"FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}:
    print("CHANGED: this is not what the head of this script describes")
    sys.exit(1)
PYTHON

environment/bin/python look.py
