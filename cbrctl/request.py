"""From what was typed to a request: a file first, then arguments and flags over it."""

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from cbrctl import names
from cbrctl.cells import at
from cbrctl.failures import USAGE, Failed
from cbrctl.index import Given, Verb
from cbrctl.reading import read
from cbrctl.transport import Transport

_MOST_PROBLEMS: Final = 20


def parameter(given: Given) -> str:
    """The name under which click hands out the value of a field."""
    return "field__" + "__".join(given.path)


def built(verb: Verb, typed: Mapping[str, Any], file: str | None) -> dict[str, Any]:
    """The request: what flags say goes over what the file says. Raises Failed for what cannot be
    read, and for an argument that is missing.
    """
    request = from_file(file, verb.request) if file else {}
    written: dict[str, Any] = {}
    given = [each for each in _fields(verb) if _is_set(typed.get(parameter(each)))]
    for each in given:
        _put(written, each.path, typed[parameter(each)])
    read_here = _read(written, verb.request, "The request cannot be sent:")
    for each in given:
        _put(request, each.path, at(read_here, each.path))
    missing = [each.name for each in verb.arguments if each.path[0] not in request]
    if missing:
        raise Failed(
            f"Missing: {', '.join(missing)}. Write {'them' if len(missing) > 1 else 'it'} behind"
            " the command, or into the file that -f names.",
            USAGE,
        )
    return request


def with_ids(verb: Verb, request: Mapping[str, Any], transport: Transport) -> dict[str, Any]:
    """The request with ids in the place of names."""
    made = deepcopy(dict(request))
    for given in _fields(verb):
        value = at(made, given.path)
        if given.group and value is not None:
            found = [names.resolved(transport, given.group, each) for each in _listed(given, value)]
            _put(made, given.path, found if given.many else found[0])
    return made


def from_file(path: str, message: str) -> dict[str, Any]:
    """The request in a YAML or JSON file; `-` is standard input."""
    from pathlib import Path

    import yaml

    class Loader(yaml.SafeLoader):
        """Times and days stay text, as requests want them."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in each if not tag.endswith("timestamp")]
        for first, each in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
        found = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise Failed(
            f"{path} cannot be read: {error.strerror}. Name a file with -f, or - for standard"
            " input.",
            USAGE,
        ) from error
    except UnicodeError as error:
        raise Failed(f"{path} is no text in UTF-8: write the request in YAML.", USAGE) from error
    except (yaml.YAMLError, ValueError) as error:
        mark, problem = (getattr(error, name, None) for name in ("problem_mark", "problem"))
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Failed(f"{path} is not YAML{place}: {problem or error}", USAGE) from error
    if not isinstance(found, dict):
        raise Failed(f"{path} must hold the fields of one request, as `name: value`.", USAGE)
    return _read(found, message, f"{path} cannot be sent:")


def _read(written: Mapping[Any, Any], message: str, otherwise: str) -> dict[str, Any]:
    if not written:
        return {}
    found, problems = read(written, message)
    if problems:
        raise Failed("\n  ".join((otherwise, *problems[:_MOST_PROBLEMS])), USAGE)
    return found


def _is_set(value: object) -> bool:
    return value is not None and value != ()


def _fields(verb: Verb) -> Sequence[Given]:
    return (*verb.arguments, *verb.flags)


def _listed(given: Given, value: Any) -> Sequence[str]:  # noqa: ANN401 - one or several
    return list(value) if given.many else [value]


def _put(request: dict[str, Any], path: Sequence[str], value: object) -> None:
    for part in path[:-1]:
        request = request.setdefault(part, {})
    request[path[-1]] = value
