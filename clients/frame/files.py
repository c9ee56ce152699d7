"""`python -m clients.frame.files [--check]`: writes the files that all clients share, or fails when
they are out of date.
"""

import argparse

from clients.frame import service_config, vectors
from clients.frame.languages import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail if a committed file is out of date"
    )
    check = parser.parse_args().check
    for made in (service_config, vectors):
        if not check:
            made.FILE.write_text(made.text(), encoding="utf-8")
        elif not made.FILE.exists() or made.FILE.read_text(encoding="utf-8") != made.text():
            raise SystemExit(f"{made.FILE.relative_to(ROOT)} is out of date, run `make generate`")


if __name__ == "__main__":
    main()
