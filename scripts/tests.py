"""Runs all tests, six at once. Where a few fail, these are run once more, one after the other: a
test of what happens in time can fail on a machine that is too busy. They are named, and are to be
mended; what fails twice fails.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_FAILED: Final = _ROOT / ".cache" / "pytest" / "v" / "cache" / "lastfailed"
_FEW: Final = 5


def main() -> int:
    _FAILED.unlink(missing_ok=True)
    code = _pytest("-n", "6", "--dist", "worksteal")
    failed = json.loads(_FAILED.read_text(encoding="utf-8")) if _FAILED.exists() else {}
    # 1: some tests have failed. All else (nothing collected, an error in pytest) is final.
    if code != 1 or not 0 < len(failed) <= _FEW:
        return code
    names = "".join(f"  {name}\n" for name in failed)
    sys.stdout.write(f"\nFAILED BESIDE OTHERS, once more alone; to be mended either way:\n{names}")
    sys.stdout.flush()
    # The last line is pytest's own.
    return _pytest("-n", "0", "--last-failed", "--last-failed-no-failures", "none")


def _pytest(*options: str) -> int:
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, cwd=_ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
