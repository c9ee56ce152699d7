"""Where gateways are and who calls them: a file of contexts, the environment, and options.

The file names credentials and never holds them: `api_key_env` or `api_key_file`.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cbrctl import address
from cbrctl.credential import cleaned, read

if TYPE_CHECKING:
    from pathlib import Path

KEY_VARIABLE: Final = "CBR_API_KEY"
_FILE_VARIABLE: Final = "CBRCTL_CONFIG"


class Context(NamedTuple):
    """A gateway, and how it is called. Every field is a key of the file, except `name`."""

    name: str = ""
    address: str = address.DEFAULT
    plaintext: bool = False
    project: str = ""
    api_key_env: str = KEY_VARIABLE
    api_key_file: str | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    def credential(self) -> str:
        """The API key or token; empty where none is set, as with a client certificate.

        Raises ValueError for one that cannot be sent.
        """
        if self.api_key_file:
            return read(self.api_key_file)
        set_to = os.environ.get(self.api_key_env, "")
        return set_to and cleaned(set_to, f"environment variable {self.api_key_env}")

    def in_project(self, project: str) -> "Context":
        return self._replace(project=project)


class Contexts(NamedTuple):
    """The file: contexts by name, and the one that is used unless another is named."""

    current: str
    by_name: Mapping[str, Context]


def path() -> "Path":
    from pathlib import Path

    if set_to := os.environ.get(_FILE_VARIABLE):
        return Path(set_to)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "cbrctl" / "config.toml"


def load() -> Contexts:
    """None at all if there is no file. Raises ValueError for one that cannot be used."""
    where = path()
    try:
        text = where.read_text("utf-8")
    except FileNotFoundError:
        return Contexts("", {})
    except OSError as error:
        raise ValueError(f"{where} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{where} is not UTF-8 text: {error}") from error
    import tomllib

    try:
        data = tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{where} is not TOML: {error}") from error
    found = data.get("contexts", {})
    if not isinstance(found, dict):
        raise ValueError(f"{where}: contexts: must be tables, [contexts.NAME]")  # noqa: TRY004
    return Contexts(
        str(data.get("current", "")),
        {name: _context(name, each, where) for name, each in found.items()},
    )


def chosen(name: str, given: Mapping[str, Any]) -> Context:
    """The context of that name, or the current one, with what options and environment say instead.

    Raises ValueError for one that is not there.
    """
    known = load()
    name = name or known.current
    if name and name not in known.by_name:
        there = ", ".join(known.by_name) or "none"
        raise ValueError(
            f"There is no context {name!r} in {path()}; there is: {there}. Make it with `cbrctl"
            f" config set {name} --address HOST:PORT`"
        )
    base = known.by_name.get(name, Context())
    made = base._replace(**{key: value for key, value in given.items() if value is not None})
    address.checked(made.address)
    return made


def _context(name: str, data: object, where: "Path") -> Context:
    kinds = [field for field in Context._fields if field != "name"]
    if not isinstance(data, dict):
        raise ValueError(f"{where}: contexts.{name}: must be a table")  # noqa: TRY004
    made = {}
    for key, value in data.items():
        if key not in kinds:
            raise ValueError(
                f"{where}: contexts.{name}.{key}: is not known; known: {', '.join(kinds)}"
            )
        made[key] = _read(key, value, f"{where}: contexts.{name}.{key}")
    return Context(name=name, **made)


def _read(key: str, value: object, where: str) -> Any:  # noqa: ANN401 - as the field has it
    if key == "plaintext" and isinstance(value, bool):
        return value
    if key != "plaintext" and isinstance(value, str):
        return os.path.expanduser(value) if key.endswith("_file") else value  # noqa: PTH111 - text, as given
    wanted = "true or false" if key == "plaintext" else "text in quotes"
    raise ValueError(f"{where}: must be {wanted}")
