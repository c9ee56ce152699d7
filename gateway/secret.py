"""Secrets: wrapped so that no log line, repr or traceback shows them, and named in the configuration instead of written there.

The configuration is shown, diffed and mounted freely: it says `{env: NAME}` or `{file: PATH}`, and the secret is read when it is loaded. Validation
takes the environment from its context: `{"environ": {...}}`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

_HOW = "Name where it is kept: {env: NAME} or {file: PATH}"


class Secret:
    """A string that only `reveal` shows; equal to a Secret of the same text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that must send or hash it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


def _resolved(value: object, info: ValidationInfo) -> Secret:
    """The secret that a reference names. No message carries the value: a literal may well be the secret itself."""
    match value:
        case Secret():
            return value
        case {"env": str(name), **rest} if not rest:
            return _from_environment(name, (info.context or {}).get("environ", {}))
        case {"file": str(path), **rest} if not rest:
            return _from_file(Path(path))
        case str():
            raise ValueError(f"a secret must not stand in the configuration. {_HOW}")
    raise ValueError(f"does not name a secret. {_HOW}")


def _from_environment(name: str, environ: Mapping[str, str]) -> Secret:
    text = environ.get(name)
    if text is None:
        raise ValueError(f"environment variable {name} is not set. Set it, or name another one")
    if not text.strip():
        raise ValueError(f"environment variable {name} is empty. Put the secret into it")
    return Secret(text.strip())


def _from_file(path: Path) -> Secret:
    """Surrounding white space is cut, since editors and `echo` end files with a line feed."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"secret file {path} cannot be read: {error.strerror}. Give the path of a file that this user may read") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"secret file {path} is not UTF-8 text. Put the secret alone into it") from error
    if not text:
        raise ValueError(f"secret file {path} is empty. Put the secret into it")
    return Secret(text)


class _Reference:
    """Teaches pydantic that a Secret is written as a reference."""

    def __get_pydantic_core_schema__(self, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_resolved)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        def reference(key: str, what: str) -> dict[str, Any]:
            text = {"type": "string", "minLength": 1, "description": what}
            return {"type": "object", "properties": {key: text}, "required": [key], "additionalProperties": False}

        return {"oneOf": [reference("env", "Name of an environment variable."), reference("file", "Path of a file that holds the secret alone.")]}


SecretReference = Annotated[Secret, _Reference()]
