"""The layers of a configuration, merged: file, then environment, then command line, each value with
the place it comes from.

pydantic-settings merges such layers too, but forgets where a value came from, passes over misspelt
environment variables, and gives up at the first one that is malformed. Knowing the line of each
mistake is worth these few functions.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct, field

from gateway import failpoint
from gateway.config import tenant_files
from gateway.config.bounded_yaml import CONFIGURATION, TENANT, BoundedLoader, TooMuch
from gateway.config.masking import Masking
from gateway.config.problems import KeyPath, Problem
from gateway.secret import masked

PREFIX: Final = "CBR_GATEWAY_"
FILE_VARIABLE: Final = f"{PREFIX}CONFIG"
"""Names the configuration file where `--config` is not given; not a setting itself."""

FLAGS: Final[Mapping[str, str]] = {
    "server.listen": "--listen",
    "server.health_listen": "--health-listen",
    "server.workers": "--workers",
    "server.reflection": "--reflection",
    "log.level": "--log-level",
}
"""Keys that the command line can set."""

# Kubernetes puts these into every container beside a Service named `cbr-gateway` or
# `cbr-gateway-...`: they are not ours to refuse.
_SERVICE_LINK: Final = re.compile(
    PREFIX
    + r"([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    + r"|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)

_QUOTED: Final = re.compile(r"(?<=')[^']*(?=')|(?<=\")[^\"]*(?=\")")
"""What a parser's error repeats of the file."""


class Layers(Struct):
    """What was read: the merged tree, the source of each value in it, and the problems met."""

    data: dict[str, Any] = field(default_factory=dict)
    sources: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: dict[str, int | None] = field(default_factory=dict)
    """The files of tenants by name, with the place of each in `tenants`; None: it has none."""

    def held(self) -> dict[str, Any]:
        """What the files of tenants hold, by name."""
        return {name: self.data["tenants"][at] for name, at in self.files.items() if at is not None}

    def source(self, path: KeyPath) -> str:
        """Where the value at `path`, or what is nearest around it, comes from; empty: default."""
        while path and path not in self.sources:
            path = path[:-1]
        return self.sources.get(path, "")

    def at(self, path: KeyPath) -> object:
        """The value as it was written; None where nothing was."""
        value: Any = self.data
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def put(self, path: KeyPath, value: object, source: str) -> None:
        """Lays a value over what is there."""
        node: Any = self.data
        for depth, part in enumerate(path[:-1], start=1):
            if not isinstance(node.get(part), dict):
                if isinstance(node.get(part), list):
                    text = (
                        "goes into a list, which cannot be changed in parts. Give the whole list,"
                        " as JSON"
                    )
                    self.problems.append(Problem(path, source, text))
                    return
                node[part] = {}
                self.sources[path[:depth]] = source
            node = node[part]
        node[path[-1]] = value
        for below in [known for known in self.sources if known[: len(path)] == path]:
            del self.sources[below]
        self.sources[path] = source


def read_layers(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Layers:
    """Reads and merges.

    `overrides`: by dotted key (`server.listen`), as the command line gave them. Never raises:
    mistakes are in `problems`.
    """
    layers = Layers()
    if path is not None:
        _read_file(path, layers)
    for name, text in sorted(environ.items()):
        if name == failpoint.VARIABLE:
            if problem := failpoint.problem(text):
                told = Masking(re.split("[,=]", text)).of(problem)
                layers.problems.append(Problem((), f"environment variable {name}", told))
        elif (
            name.startswith(PREFIX)
            and name != FILE_VARIABLE
            and ("__" in name or not _SERVICE_LINK.fullmatch(name))
        ):
            segments = name.removeprefix(PREFIX).split("__")
            source = f"environment variable {PREFIX}{'__'.join(map(masked, segments))}"
            layers.put(_spelled(segments, layers.data), _from_text(text), source)
    for key, value in overrides.items():
        layers.put(tuple(key.split(".")), value, FLAGS.get(key, "override"))
    _read_tenants(layers)
    return layers


def _spelled(segments: list[str], data: object) -> KeyPath:
    """The key path that a variable's segments mean.

    A key that exists is meant whatever its dashes and dots: CN_NORTH_4 is `cn-north-4`.
    """
    path: list[str] = []
    for segment in segments:
        known = data if isinstance(data, dict) else {}
        named = (
            key
            for key in known
            if isinstance(key, str) and re.sub(r"[-.]", "_", key).upper() == segment.upper()
        )
        path.append(next(named, segment.lower()))
        data = known.get(path[-1])
    return tuple(path)


def _from_text(text: str) -> object:
    """A list, mapping or null when the text is one in JSON, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, list | dict | None) else text


def _read_file(path: Path, layers: Layers) -> None:
    layers.data = (
        _read_mapping(path, (), (), "a mapping of sections: server, upstream, tenants, log", layers)
        or {}
    )


def _read_tenants(layers: Layers) -> None:
    """Puts the files of `tenants_dir` where the list `tenants` would stand."""
    directory, place = layers.data.get(tenant_files.KEY), layers.source((tenant_files.KEY,))
    if not isinstance(directory, str):
        return
    if "tenants" in layers.data:
        layers.problems.append(
            Problem((tenant_files.KEY,), place, "stands beside `tenants`. Keep one of the two")
        )
        return

    def read(paths: list[Path]) -> list[Any]:
        entries: list[Any] = []
        layers.files.clear()
        for path in paths:
            entry = _read_mapping(
                path,
                ("tenants", len(entries)),
                (tenant_files.KEY,),
                "a mapping that describes one tenant",
                layers,
            )
            layers.files[path.name] = None if entry is None else len(entries)
            if entry is not None:
                entries.append(entry)
        return entries

    layers.sources["tenants",] = place
    entries = tenant_files.read_tenants(Path(directory), place, read, layers.problems)
    layers.data["tenants"] = entries
    if not entries:
        # Also where the directory as a whole cannot be read.
        layers.files.clear()


def _read_mapping(
    path: Path, at: KeyPath, blamed: KeyPath, form: str, layers: Layers
) -> dict[str, Any] | None:
    """What a file holds, placed at `at`; an empty one holds nothing.

    None, and a problem at `blamed`, for a file that is not one mapping.
    """
    where, problem = masked(str(path)), f"must be {form}"
    try:
        loader = BoundedLoader(path, TENANT if at else CONFIGURATION)
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode):
            tree: dict[str, Any] = _Tree(path, loader, layers).plain(root, at)
            return tree
        if root is None and not at:
            return {}
    except OSError as error:
        problem = f"cannot be read: {error.strerror}. Give the path of the configuration file"
        if at:
            raise
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except TooMuch as error:
        where, problem = f"{where}:{error.line}", str(error)
    except yaml.YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f"{where}:{mark.line + 1}" if mark else where
        problem = (
            "is not YAML:"
            f" {_QUOTED.sub(lambda found: masked(found[0]), what or 'unreadable characters')}"
        )
    layers.problems.append(Problem(blamed, where, problem))
    return None


class _Tree(Struct, frozen=True):
    """Turns YAML nodes into plain values and notes the line of each."""

    path: Path
    loader: BoundedLoader
    layers: Layers

    def plain(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401 - whatever the file holds
        self.loader.visit(node)
        self.loader.check_depth(len(path), node.start_mark.line + 1)
        self.layers.sources[path] = f"{self.path}:{node.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(child, (*path, index)) for index, child in enumerate(node.value)]
        try:
            return self.loader.scalar(node)
        except ValueError:
            self._problem(path, "cannot be read as a value. Put quotes around it if it is text")
            return None

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, child in node.value:
            key = key_node.value
            if not isinstance(key, str):
                self._problem(path, "has a key that is not text")
                continue
            if key in seen:
                self.layers.sources[(*path, key)] = f"{self.path}:{key_node.start_mark.line + 1}"
                self._problem((*path, key), "is given twice. Keep one")
                continue
            seen.add(key)
            yield key, self.plain(child, (*path, key))
            # A section's own line is the line of its key, not that of its first entry.
            self.layers.sources[(*path, key)] = f"{self.path}:{key_node.start_mark.line + 1}"

    def _problem(self, path: KeyPath, text: str) -> None:
        self.layers.problems.append(Problem(path, self.layers.source(path), text))
