"""From what was typed to a request: a file first, then arguments and flags over it."""

import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cbrctl import names
from cbrctl.failures import USAGE, Failed
from cbrctl.index import Given, Verb
from cbrctl.transport import Transport

_MOST_PROBLEMS: Final = 20


def parameter(given: Given) -> str:
    """The name under which click hands out the value of a field."""
    return "field__" + "__".join(given.path)


def built(verb: Verb, typed: Mapping[str, Any], file: Path | None) -> dict[str, Any]:
    """The request. Raises Failed for a file that cannot be used, and for an argument that is
    missing.
    """
    request = from_file(file, verb.request) if file else {}
    for given in (*verb.arguments, *verb.flags):
        value = typed.get(parameter(given))
        if value is not None and value != ():
            _put(request, given.path, [*value] if given.many else value)
    missing = [each.name for each in verb.arguments if each.path[0] not in request]
    if missing:
        raise Failed(
            f"Missing: {', '.join(missing)}. Write {'them' if len(missing) > 1 else 'it'} behind"
            " the command, or into the file that -f names.",
            USAGE,
        )
    return request


def with_ids(
    verb: Verb, request: dict[str, Any], typed: Mapping[str, Any], transport: Transport
) -> None:
    """Puts ids in the place of names that were typed."""
    for given in (*verb.arguments, *verb.flags):
        value = typed.get(parameter(given))
        if not given.group or value in {None, ()}:
            continue
        found = [names.resolved(transport, given.group, each) for each in _listed(given, value)]
        _put(request, given.path, found if given.many else found[0])


def from_file(path: Path, message: str) -> dict[str, Any]:
    """The request in a YAML or JSON file; `-` is standard input."""
    import yaml

    from cbrctl.checked import wrong

    class Loader(yaml.SafeLoader):
        """Times and days stay text, as requests want them."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in each if not tag.endswith("timestamp")]
        for first, each in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
        found = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}", USAGE) from error
    except (yaml.YAMLError, ValueError) as error:
        raise Failed(f"{path} is not YAML: {' '.join(str(error).split())}", USAGE) from error
    if not isinstance(found, dict):
        raise Failed(f"{path} must hold the fields of one request, as `name: value`.", USAGE)
    if problems := list(islice(wrong(found, message), _MOST_PROBLEMS)):
        raise Failed("\n  ".join((f"{path} cannot be sent:", *problems)), USAGE)
    return found


def _listed(given: Given, value: Any) -> Sequence[str]:  # noqa: ANN401 - one or several
    return list(value) if given.many else [value]


def _put(request: dict[str, Any], path: Sequence[str], value: object) -> None:
    for part in path[:-1]:
        inside = request.setdefault(part, {})
        if not isinstance(inside, dict):
            raise Failed(f"{part} in the file must hold fields, as `name: value`.", USAGE)
        request = inside
    request[path[-1]] = value
