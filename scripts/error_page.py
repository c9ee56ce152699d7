"""Writes docs/errors.md from the comments and options of errors.proto and the table of CBR's codes.

So the page cannot drift from the code: change the comment, run `make generate`. `make check` fails
when the committed page is out of date.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cbrgateway.v1 import errors_pb2
from google.rpc import code_pb2

from gateway.reasons import REASONS, reason_name, reason_of
from gateway.upstream.reference import load_comments
from gateway.upstream.upstream_error import codes as upstream_codes

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "errors.md"
_TODO: Final = "What to do:"
_RETRY: Final[Mapping[str, str]] = {
    "INVALID_ARGUMENT": "Repeating the same call cannot help: change the request.",
    "OUT_OF_RANGE": "The place to go on from is not there any more: begin anew, without it.",
    "UNAUTHENTICATED": "Repeating the same call cannot help: change the API key.",
    "PERMISSION_DENIED": (
        "Repeating the same call cannot help, until somebody grants what is missing."
    ),
    "NOT_FOUND": "Repeating the same call cannot help, unless the object is still being made.",
    "FAILED_PRECONDITION": "Repeat only after the named condition has changed.",
    "ALREADY_EXISTS": "Repeating cannot help; use what exists.",
    "ABORTED": "Repeat after the delay in `RetryInfo`.",
    "UNAVAILABLE": "Repeat after the delay in `RetryInfo`, with exponential backoff.",
    "UNKNOWN": "Do not repeat before you have read the object.",
    "INTERNAL": "Something that a caller cannot mend.",
    "DEADLINE_EXCEEDED": "Repeat with more time.",
    "RESOURCE_EXHAUSTED": (
        "Repeat with exponential backoff, unless gRPC itself refused a message that is too large:"
        " that never passes."
    ),
    "UNIMPLEMENTED": "Repeating cannot help.",
}
_DENIED: Final = "The audit log has the decision `Denied`."
_LIMITED: Final = "The audit log has `quota: refused`."
_PUSHBACK: Final = (
    "gRPC clients that repeat calls by themselves keep the delay (`grpc-retry-pushback-ms`)."
)
_INTRODUCTION: Final = """\
<!-- Written by scripts/error_page.py. Do not edit: change the comments and options in protos/cbrgateway/v1/errors.proto and run `make generate`. -->
# Errors

Every error that the gateway answers is a `google.rpc.Status` with a gRPC code, a short message that says what to change, and details:

| detail | when | holds |
|---|---|---|
| `ErrorInfo` | always | `reason` (below), domain `cbrgateway`, and facts as metadata |
| `RequestInfo` | always | the call's id; it is also in the trailer `x-request-id` and in every log line of the call |
| `BadRequest` | INVALID_ARGUMENT | for each broken rule the path of the field where one can be named, what is wrong, and the rule |
| `PreconditionFailure` | FAILED_PRECONDITION | what stands in the way, with CBR's code |
| `QuotaFailure` | `UPSTREAM_LIMIT` | the limit of CBR that is reached |
| `ResourceInfo` | where one object is to blame | its kind, and its id where it is known |
| `RetryInfo` | where time heals it | how long to wait |

"""
_HOW_TO_READ: Final = """\
Read the gRPC code first: it says whether repeating can help. Then the reason: it says why, and programs may branch on it. Messages are for people
and may change.

```python
import grpc
from cbrgateway.v1 import vault_pb2 as vault, vault_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

with grpc.insecure_channel("127.0.0.1:50051") as channel:
    try:
        vault_pb2_grpc.VaultServiceStub(channel).GetVault(
            vault.GetVaultRequest(vault_id="97ba169e-4851-6707-0daa-36266b660ac4"),
            metadata=[("authorization", "Bearer dev-key-payments")],
        )
    except grpc.RpcError as error:
        info = error_details_pb2.ErrorInfo()
        status = rpc_status.from_call(error)
        found = status is not None and any(detail.Unpack(info) for detail in status.details)
        print(error.code().name, error.details())
        if found:
            sent, code = info.metadata["sent"], info.metadata["upstreamCode"]
            print(info.reason, "sent:", sent, "CBR's code:", code)
```

which prints

```text
NOT_FOUND Vault not found.
VAULT_NOT_FOUND sent: yes CBR's code: BackupService.6105
```

A refusal that gRPC itself makes before the gateway sees the call (too many calls waiting, metadata or message too large, a connection that is being
closed) has a code and a message, but no details. A message of more than 1 MiB ends so with RESOURCE_EXHAUSTED and
"larger than max" in the text: unlike `OVERLOADED` it never passes, however often it is repeated. A smaller one that is more than its RPC takes
(128 KiB, `server.limits.max_message_bytes`; 1 MiB where many resources can be named with their disks) is a [`FIELD_INVALID`](#field_invalid) that names the limit. Send less in one call.

`grpcurl` decodes the details by reflection. `buf curl` prints them as base64, each under its type: it decodes no details, whatever the server offers.

"""
_CODES: Final = """
## CBR's codes

CBR's own code comes back as `upstreamCode`. One that is missing here falls back to its HTTP status.

| code | meaning | reason |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    comments = load_comments()
    lead = comments[str(errors_pb2.ErrorReason.DESCRIPTOR.full_name)]
    metadata = lead[lead.index("Metadata of the ErrorInfo") :]
    codes: dict[str, list[str]] = {}
    for reason, failure in REASONS.items():
        codes.setdefault(code_pb2.Code.Name(failure.code), []).append(reason_name(reason))
    parts = [_INTRODUCTION, metadata, "\n\n", _HOW_TO_READ, _contents(codes)]
    for code, reasons in codes.items():
        parts.append(f"\n## Code {code}\n\n{_RETRY[code]}\n")
        parts.extend(_reason(reason, comments) for reason in reasons)
    return "".join((*parts, _CODES, *_rows()))


def _contents(codes: Mapping[str, list[str]]) -> str:
    rows = (
        f"| [{code}](#code-{code.lower()}) |"
        f" {', '.join(f'[`{r}`](#{r.lower()})' for r in reasons)} |\n"
        for code, reasons in codes.items()
    )
    return "| gRPC code | reasons |\n|---|---|\n" + "".join(rows)


def _reason(reason: str, comments: Mapping[str, str]) -> str:
    comment = comments[f"{errors_pb2.ErrorReason.DESCRIPTOR.full_name}.ERROR_REASON_{reason}"]
    meaning, _, todo = comment.partition(_TODO)
    codes = [
        f"`{code}`" for code, known in upstream_codes().known.items() if known.reason == reason
    ]
    led = f"\n**CBR's codes:** {', '.join(codes)}.\n" if codes else ""
    failure = REASONS[reason_of(reason)]
    facts = [
        text
        for holds, text in (
            (failure.denied, _DENIED),
            (failure.limited, _LIMITED),
            (failure.pushback, _PUSHBACK),
        )
        if holds
    ]
    follows = f"\n{' '.join(facts)}\n" if facts else ""
    return f"\n### {reason}\n\n{meaning.strip()}\n\n**{_TODO}** {todo.strip()}\n{follows}{led}"


def _rows() -> Iterator[str]:
    for code, known in sorted(upstream_codes().known.items()):
        yield f"| `{code}` | {known.meaning} | [`{known.reason}`](#{known.reason.lower()}) |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail if the committed page is out of date"
    )
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        raise SystemExit("docs/errors.md is out of date, run `make generate`")


if __name__ == "__main__":
    main()
