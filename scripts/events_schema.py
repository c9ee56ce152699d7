"""Generates docs/events.schema.json from the code that makes events."""

import argparse
import json
from pathlib import Path
from typing import Final

from gateway.events.types import schema

SCHEMA: Final = Path(__file__).resolve().parent.parent / "docs" / "events.schema.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the file is out of date")
    text = json.dumps(schema(), indent=2) + "\n"
    if not parser.parse_args().check:
        SCHEMA.write_text(text, encoding="utf-8")
    elif not SCHEMA.exists() or SCHEMA.read_text(encoding="utf-8") != text:
        raise SystemExit(f"docs/{SCHEMA.name} is out of date, run `make generate`")


if __name__ == "__main__":
    main()
