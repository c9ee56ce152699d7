"""`python -m clients.frame build|test [language...]`: what `make clients` and `make test-clients`
run.
"""

import argparse
import sys

from clients.frame import build, test
from clients.frame.languages import languages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m clients.frame", description=__doc__)
    parser.add_argument("what", choices=["build", "test"])
    parser.add_argument(
        "languages",
        nargs="*",
        help="those of clients/languages.toml; all of them, if none is named",
    )
    asked = parser.parse_args()
    found = build.present(languages(asked.languages))
    build.build_descriptors()
    try:
        for language in found:
            build.build(language)
    except build.Failed as failure:
        raise SystemExit(str(failure)) from failure
    if asked.what == "test":
        passed = [(language, test.test(language)) for language in found]
        print("\n".join(test.table(passed)))
        sys.exit(0 if test.complete(passed) else 1)


if __name__ == "__main__":
    main()
