"""What `clients/languages.toml` says: one section per language."""

import hashlib
import shlex
import shutil
import string
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clients.frame.checks import ONLY

ROOT: Final = Path(__file__).resolve().parents[2]
CLIENTS: Final = ROOT / "clients"
TABLE: Final = CLIENTS / "languages.toml"
DIST: Final = ROOT / "dist"
_CACHE: Final = ROOT / ".cache" / "clients"

Command = Sequence[str]


class _Names(string.Template):
    """`%{name}`: neither the shell nor any build tool means anything by it."""

    delimiter = "%"


@dataclass(frozen=True, slots=True)
class Language:
    """One section, its placeholders filled in. Commands run in `tree`, in their order."""

    name: str
    programs: Sequence[str]
    """What must be on the path."""
    probes: Sequence[Command]
    """Commands that succeed where the libraries are that no program on the path tells of."""
    packages: Sequence[str]
    """Debian packages that bring both."""
    pins: Mapping[str, str]
    """Plugin or runtime -> its version."""
    manifests: Sequence[str]
    """Files of the client that repeat the pins, since the language's own tools read them there."""
    environ: Mapping[str, str]
    tools: Sequence[Command]
    """Install plugins and libraries."""
    plugins: Sequence[Mapping[str, Any]]
    """As in the list `plugins` of a buf.gen.yaml, without `out`."""
    google: bool
    """Whether Google's messages are generated, too: no package of the language has them."""
    code: str
    """Where the generated code stands in the package."""
    service_config: str
    """Where the service config stands in the package."""
    package: Sequence[Command]
    test: Sequence[Command]
    example: Sequence[Command]
    """Run the example against the package in `dist`."""
    story: str
    """The file of the example in whose place the README's program is run."""
    without: Sequence[str] = ()
    """Checks of what the client does not have yet, and those of one other language alone."""

    @property
    def source(self) -> Path:
        return CLIENTS / self.name

    @property
    def generated(self) -> Path:
        return ROOT / "generated" / self.name

    @property
    def cache(self) -> Path:
        return _CACHE / self.name

    @property
    def tree(self) -> Path:
        """Our own code and the generated code together: what the package is made from."""
        return _CACHE / self.name / "tree"

    def missing(self) -> list[str]:
        """What is not here, in words."""
        programs = [
            f"{program} is not on the path"
            for program in self.programs
            if shutil.which(program) is None
        ]
        return programs or [
            f"`{shlex.join(probe)}` fails" for probe in self.probes if _fails(probe)
        ]

    def fingerprint(self) -> str:
        """Changes with everything that decides which tools are installed."""
        found = hashlib.sha256(repr((self.tools, sorted(self.pins.items()))).encode())
        for name in self.manifests:
            found.update((self.source / name).read_bytes())
        return found.hexdigest()


def _fails(probe: Command) -> bool:
    return subprocess.run(probe, capture_output=True, check=False).returncode != 0


def languages(wanted: Sequence[str] = ()) -> list[Language]:
    """Those that are wanted, or all. Raises SystemExit for a name without a section."""
    sections = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    if unknown := [name for name in wanted if name not in sections]:
        raise SystemExit(
            f"no such language: {', '.join(unknown)}. There are: {', '.join(sections)}"
        )
    return [
        _language(name, section)
        for name, section in sections.items()
        if not wanted or name in wanted
    ]


def _language(name: str, section: Mapping[str, Any]) -> Language:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cache = _CACHE / name
    places = {
        "root": ROOT,
        "cache": cache,
        "tree": cache / "tree",
        "dist": DIST,
        "release": project["version"],
    }
    names = {key: str(value) for key, value in places.items()} | {
        key.replace("-", "_"): pin for key, pin in section["pins"].items()
    }

    def filled(value: Any) -> Any:  # noqa: ANN401 - what TOML can hold
        if isinstance(value, str):
            return _Names(value).substitute(names)
        if isinstance(value, list):
            return [filled(each) for each in value]
        return (
            {key: filled(each) for key, each in value.items()} if isinstance(value, dict) else value
        )

    known: dict[str, Any] = {"google": False, "probes": [], "without": []} | dict(section)
    of_others = [check for check, only in ONLY.items() if only != name]
    known["without"] = [*known["without"], *of_others]
    return Language(name=name, **{key: filled(value) for key, value in known.items()})
