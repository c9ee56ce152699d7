"""The program of a README, run as it stands there: in the place of the package's example, against
a `cbr-gateway dev` as its reader has one.
"""

import re
from typing import Final

from clients.frame import build
from clients.frame.languages import Language
from devstack.launch import launched

HEADING: Final = "## Protect, back up, wait, restore, report"
SHOWN_ADDRESS: Final = "127.0.0.1:50051"
"""Where READMEs have the gateway."""
_BLOCK: Final = re.compile(r"^```\S+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def program(language: Language) -> str:
    """The first block of code under HEADING. Raises LookupError where there is none."""
    page = (language.source / "README.md").read_text(encoding="utf-8")
    part = page.partition(f"\n{HEADING}\n")[2].partition("\n## ")[0]
    found = _BLOCK.search(part)
    if found is None:
        raise LookupError(f"{language.name}: README.md has no program under `{HEADING}`")
    return found["text"]


def run(language: Language, timeout_s: float) -> None:
    """Raises Failed, and RuntimeError where the gateway does not come up."""
    with launched("--log-level", "warning") as gateway:
        told = program(language).replace(SHOWN_ADDRESS, gateway.address)
        (language.tree / language.story).write_text(told, encoding="utf-8")
        build.run(language, language.example, timeout_s=timeout_s)
