"""The documents against the code that they speak of."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from gateway.operations import load_catalog
from gateway.upstream.retry import READ_CAP_S, Deadline

ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("docs", "clients", "emulator", "benchmarks", "tests")
MARKDOWN = sorted(
    [*ROOT.glob("*.md"), *(path for part in _PARTS for path in (ROOT / part).rglob("*.md"))]
)
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    """The text without its code blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """What `#...` may name in a page, by the rules of the usual renderers."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def table(path: Path, section: str) -> list[list[str]]:
    """The rows of the tables below a heading, without heads and rules."""
    text = (
        path.read_text(encoding="utf-8")
        .split(f"\n## {section}\n", maxsplit=1)[1]
        .split("\n## ", maxsplit=1)[0]
    )
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [
        row
        for i, row in enumerate(rows)
        if not row[0].startswith("---")
        and not (i + 1 < len(rows) and rows[i + 1][0].startswith("---"))
    ]


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = []
    for link in _LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if (
            not target.is_relative_to(ROOT)
            or not target.exists()
            or (anchor and anchor not in anchors(target))
        ):
            broken.append(link)
    assert not broken


def test_the_readme_lists_every_rpc_once():
    rows = {
        re.sub(r"\[(\w+)\].*", r"\1", row[0]): row[2].split(", ")
        for row in table(ROOT / "README.md", "The API")
    }
    declared: dict[str, list[str]] = {}
    for binding in load_catalog():
        declared.setdefault(binding.descriptor.containing_service.name, []).append(
            binding.descriptor.name
        )
    assert {service: sorted(rpcs) for service, rpcs in rows.items()} == {
        service: sorted(rpcs) for service, rpcs in declared.items()
    }


def test_the_shortest_deadline_is_the_one_that_is_written_down():
    def sent(deadline_s):
        return Deadline.begin(0.0, deadline_s, READ_CAP_S).attempt_s(0.0) is not None

    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (stated,) = re.findall(
        r"^\| shortest deadline of a call that reaches CBR \| ([0-9.]+) s:", text, re.MULTILINE
    )
    assert sent(float(stated) + 0.001)
    assert not sent(float(stated) - 0.001)
    assert sent(0.4)


def test_the_glossary_pairs_every_rpc_with_the_vendors_name():
    rows = table(
        ROOT / "docs" / "glossary.md", "RPCs that are named otherwise than the vendor's operation"
    )
    pairs = {row[0].strip("`"): row[1].strip("`") for row in rows}
    assert pairs == {
        binding.rpc: binding.operation
        for binding in load_catalog()
        if binding.operation not in {"", binding.descriptor.name}
    }


@pytest.mark.parametrize("section", ["Things", "Words of the gateway"])
def test_the_sources_of_the_glossary_use_its_terms(section):
    missing = []
    for row in table(ROOT / "docs" / "glossary.md", section):
        source = _LINK.findall(row[2])[-1]
        text = (ROOT / "docs" / source).read_text(encoding="utf-8")
        if row[0].lower().replace(" ", "") not in re.sub(r"[ _\n]", "", text.lower()):
            missing.append(row[0])
    assert not missing


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    parts = [
        tomllib.loads((ROOT / name).read_text(encoding="utf-8"))
        for name in (
            "pyproject.toml",
            "clients/python/pyproject.toml",
            "cbrctl/pyproject.toml",
            "devstack/pyproject.toml",
        )
    ]
    wanted = [text for part in parts for text in part["project"]["dependencies"]]
    wanted += [
        text
        for part in parts
        for extra in part["project"].get("optional-dependencies", {}).values()
        for text in extra
    ]
    wanted += [
        text
        for part in parts
        for group in part.get("dependency-groups", {}).values()
        for text in group
        if isinstance(text, str)
    ]
    names = {re.split(r"[<>=~! \[;]", text)[0] for text in wanted} - {"cbr-gateway", "cbrctl"}
    assert not {name for name in names if f"`{name}`" not in page}


def test_the_page_of_errors_is_in_step():
    script = importlib.util.spec_from_file_location(
        "error_page", ROOT / "scripts" / "error_page.py"
    )
    assert script is not None
    assert script.loader is not None
    module = importlib.util.module_from_spec(script)
    script.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run `make generate`"


def test_every_decision_is_in_the_list_of_decisions():
    folder = ROOT / "docs" / "adr"
    listed = set(_LINK.findall((folder / "README.md").read_text(encoding="utf-8")))
    assert listed == {path.name for path in folder.glob("0*.md")}
