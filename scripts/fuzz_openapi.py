"""Has schemathesis call a gateway of its own by the OpenAPI document: every RPC that is no stream,
with requests that are of their schema and with such as are not.

    python -m scripts.fuzz_openapi SCHEMATHESIS [SEED]

Each answer must be one that the document has, never a 5xx, and what breaks a schema is refused.
Bounded by time. The same requests each time, so that a change answers for what it broke; another
seed tries others.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from devstack.launch import launched
from devstack.tenants import TENANTS
from gateway.http.openapi import document
from gateway.operations import load_catalog

_CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
_SEED: Final = "1"
_TIME_S: Final = 90
_BOUND_S: Final = 300
"""For all of it, which a hanging call would exceed."""


def main() -> None:
    program, seed = Path(sys.argv[1]).absolute(), (*sys.argv[2:], _SEED)[0]
    api = _tried(document(load_catalog()))
    key = next(each.api_key for each in TENANTS if each.administrator)
    with (
        launched("--task-seconds", "0", "--log-level", "error") as running,
        tempfile.TemporaryDirectory() as folder,
    ):
        (Path(folder) / "openapi.json").write_text(json.dumps(api), "utf-8")
        command = (
            *(str(program), "run", "openapi.json", "--url", running.http),
            *("--header", f"authorization: Bearer {key}", "--no-color"),
            *("--phases", "coverage,fuzzing", "--checks", ",".join(_CHECKS)),
            *("--seed", seed, "--max-time", str(_TIME_S), "--request-timeout", "30"),
        )
        done = subprocess.run(command, cwd=folder, timeout=_BOUND_S, check=False)
    sys.exit(done.returncode)


def _tried(api: dict[str, Any]) -> dict[str, Any]:
    """Without streams, which do not end; without headers, since most deadlines and projects that
    come to mind end a call at once; and with what JSON of protobuf takes beside what it writes.
    """
    paths = {}
    for path, item in api["paths"].items():
        call = {**item["post"], "parameters": []}
        if "application/json" in call["responses"]["200"]["content"]:
            paths[path] = {"post": call}
    schemas = {}
    for name, schema in api["components"]["schemas"].items():
        fields = {
            field: {"anyOf": [*_taken(of), {"type": "null"}]}
            for field, of in schema.get("properties", {}).items()
        }
        schemas[name] = {**schema, "properties": fields} if fields else schema
    return {**api, "paths": paths, "components": {**api["components"], "schemas": schemas}}


def _taken(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """A field's schema, and the other forms of its values: numbers as text, text as numbers, the
    numbers of enums. Null, for "not set", is one of every field.
    """
    if schema.get("type") == "array":
        return [{**schema, "items": {"anyOf": _taken(schema["items"])}}]
    if "enum" in schema or schema.get("format") in {"int64", "uint64"}:
        return [schema, {"type": "integer"}]
    if schema.get("type") in {"integer", "number"}:
        return [schema, {"type": "string", "pattern": r"^[-+0-9.eE]+$"}]
    return [schema]


if __name__ == "__main__":
    main()
