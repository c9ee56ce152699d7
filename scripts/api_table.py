"""Writes the names of each service's RPCs into the table of README.md, from the protos.

The first two columns are written by hand.
"""

import argparse
import re
from pathlib import Path
from typing import Final

from gateway.upstream.catalog import own_services

PAGE: Final = Path(__file__).resolve().parent.parent / "README.md"


def page(text: str) -> str:
    """The page with the RPCs as they are declared."""
    for service in own_services():
        row = re.compile(rf"(\| \[{service.name}\]\([^)]*\) \| [^|]* \| )[^|]*( \|\n)")
        names = ", ".join(method.name for method in service.methods)
        text, found = row.subn(rf"\g<1>{names}\g<2>", text)
        if found != 1:
            raise SystemExit(f"README.md needs one row for {service.name}, not {found}")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail if the committed page is out of date"
    )
    check, text = parser.parse_args().check, PAGE.read_text(encoding="utf-8")
    if check and page(text) != text:
        raise SystemExit("README.md is out of date, run `make generate`")
    PAGE.write_text(page(text), encoding="utf-8")


if __name__ == "__main__":
    main()
