"""Files that mean far more than they hold: refused with file and line, before they take memory."""

import tracemalloc
from pathlib import Path

import pytest

from gateway.config import read_layers

MAIN = "tenants_dir: tenants\n"
AT_MOST_MIB = 32


def bomb(levels: int, width: int = 9) -> str:
    lines = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


ALIASES = "uses aliases for more than 10000 values, those within counted each time. Write out"
DEEP = "is nested too deeply, or contains itself"
MANY = "holds more than 10000 keys and values"
HOSTILE = {
    "aliases of aliases": (bomb(6), 1, ALIASES),
    "mappings of aliases": (bomb(5).replace("[", "{k: [").replace("]", "]}"), 1, ALIASES),
    "itself, twice": ("id: &x [*x, *x]", 1, DEEP),
    "itself, wide": (f"id: &x [{', '.join(['*x'] * 5)}]", 1, DEEP),
    "lists in lists": ("id: a\nprojects: " + "[" * 5000, 2, DEEP),
    "mappings in mappings": ("id: a\nprojects: " + "{a: " * 5000, 2, DEEP),
    "keys in keys": ("? " * 500 + "a", 1, DEEP),
    "many values": ("id: a\nprojects: [" + "a," * 11_000 + "]", 2, MANY),
    "many keys": ("".join(f"k{n}: 1\n" for n in range(6_000)), 5000, MANY),
    "long": ("id: a\n" + "# a comment\n" * 25_000, 21846, "holds more than 256 KiB"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tenants").mkdir()
    Path("gateway.yaml").write_text(MAIN)
    return tmp_path


@pytest.mark.parametrize("name", HOSTILE)
def test_what_means_too_much_is_refused_where_it_stands(here: Path, name: str) -> None:
    text, line, problem = HOSTILE[name]
    Path("tenants/z.yaml").write_text(text)
    tracemalloc.start()
    try:
        layers = read_layers(Path("gateway.yaml"), {}, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (found,) = layers.problems
    assert str(found).startswith(f"tenants_dir (tenants/z.yaml:{line}): {problem}")
    assert peak < AT_MOST_MIB * 1024 * 1024
    assert len(layers.sources) < 15_000


def test_the_configuration_itself_has_such_bounds(here: Path) -> None:
    Path("gateway.yaml").write_text("server: {}\n" + bomb(7))
    (found,) = read_layers(Path("gateway.yaml"), {}, {}).problems
    assert str(found).startswith("gateway.yaml:2: uses aliases")


def test_aliases_that_spare_a_few_lines_are_read(here: Path) -> None:
    Path("tenants/a.yaml").write_text("id: a\nx: &x {region: r}\nprojects: [*x, *x]\n")
    layers = read_layers(Path("gateway.yaml"), {}, {})
    assert not layers.problems
    assert layers.at(("tenants", 0, "projects")) == [{"region": "r"}, {"region": "r"}]


UNFIT = {
    "a number to the base of 60": "1" + ":1" * 5_000,
    "a number of many digits": "0x" + "f" * 50_000,
    "an empty number": '!!int ""',
    "an empty fraction": '!!float ""',
    "no truth": "!!bool maybe",
    "no time": "!!timestamp today",
    "a month that there is not": "2026-13-41",
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_value_that_is_not_what_it_says_is_a_mistake(here: Path, name: str) -> None:
    Path("tenants/z.yaml").write_text(f"id: {UNFIT[name]}")
    problems = [str(found) for found in read_layers(Path("gateway.yaml"), {}, {}).problems]
    text = "cannot be read as a value. Put quotes around it if it is text"
    assert problems == [f"tenants[0].id (tenants/z.yaml:1): {text}"]
