"""Secrets: wrapped so that no log line, repr or traceback shows them, and named in the
configuration instead of written there.

The configuration is shown, diffed and mounted freely: it says `{env: NAME}` or `{file: PATH}`, and
the secret is read when it is loaded. Validation takes the environment from its context:
`{"environ": {...}}`.

What stands where a name belongs may be the secret itself, pasted into the wrong place. So the name
of a secret is shown only once something bears it, and anything else that was configured only as far
as it reads like a name: `masked`.
"""

import difflib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from gateway.regular_file import read_file

_HOW = "Name where it is kept: {env: NAME} or {file: PATH}"
_EDGES: Final = " \t\r\n"
_STRAY: Final = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
"""Unicode's categories of characters that nobody sees: controls, byte order marks, no-break and
zero-width spaces, line separators, no characters.
"""
_BLANK: Final = frozenset(
    map(
        chr,
        (
            0x34F,
            0x115F,
            0x1160,
            0x17B4,
            0x17B5,
            *range(0x180B, 0x1810),
            0x2800,
            0x3164,
            *range(0xFE00, 0xFE10),
            0xFFA0,
        ),
    )
)
"""Fillers and the like, which are in other categories."""
_LONGEST: Final = 200
_SHORTEST: Final = 4
_GAPS: Final = re.compile(r"[-_./:@,*<>\[\]~ ]+")
_WORD: Final = re.compile(
    r"[A-Za-z][a-z]{0,15}[0-9]{0,5}|[A-Z]{1,16}[0-9]{0,5}|([A-Z][a-z]{1,15}){2,4}|[0-9]{1,8}[a-z]{0,2}"
)
_USER: Final = re.compile(r"//[^/@\s]*@")
_URL: Final = re.compile(r"([a-z]+://[^/?#]*)([^?#]*)(.*)", re.DOTALL)
MASK: Final = "***"


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
    """The secret that a reference names.

    No message carries the value: a literal may well be the secret itself.
    """
    match value:
        case Secret():
            return value
        case {"env": str(name), **rest} if not rest:
            return _from_environment(name, (info.context or {}).get("environ", {}))
        case {"file": str(path), **rest} if not rest:
            return Secret(read_secret_file(Path(path)))
        case str():
            raise ValueError(f"a secret must not stand in the configuration. {_HOW}")
    raise ValueError(f"does not name a secret. {_HOW}")


def cleaned(text: str, what: str) -> str:
    """A secret as it was read from `what`, without the white space that editors and `echo` put
    around it.

    Raises ValueError if nothing is left, or if it holds a character that cannot be seen: such a
    secret was copied badly, and whoever checks it would only call it wrong.
    """
    secret = text.strip(_EDGES)
    if not secret:
        raise ValueError(f"{what} is empty. Put the secret into it")
    for place, character in enumerate(secret, start=1):
        if character != " " and (character in _BLANK or unicodedata.category(character) in _STRAY):
            name = unicodedata.name(character, "CONTROL CHARACTER")
            raise ValueError(
                f"{what} holds U+{ord(character):04X} ({name}) as character {place} of"
                f" {len(secret)}. Remove it"
            )
    return secret


def read_secret_file(path: Path) -> str:
    """The secret that a file holds alone. Raises ValueError with a sentence about what is wrong."""
    try:
        text = read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"secret file {path} is not UTF-8 text. Put the secret alone into it"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        what = f"secret file {path}" if _exists(path) else "the secret file named here"
        raise ValueError(
            f"{what} cannot be read: {reason}. Give the path of a file that this user may read"
        ) from error
    return cleaned(text, f"secret file {path}")


def masked(text: str) -> str:
    """The text, if it reads like a name, an address or a path: words with few digits.

    Of a URL the parts that do, of anything else a mask.
    """
    text = _USER.sub(f"//{MASK}@", text)
    if _plain(text) or (text.startswith("/") and _exists(Path(text))):
        return text
    if (url := _URL.fullmatch(text)) is None or not _plain(url[1]):
        return MASK
    steps = "/".join(step if _plain(step) else MASK for step in url[2].split("/"))
    return f"{url[1]}{steps}{f'?{MASK}' if url[3] else ''}"


def _plain(text: str) -> bool:
    return len(text) < _SHORTEST or (
        len(text) <= _LONGEST
        and all(len(word) < _SHORTEST or _WORD.fullmatch(word) for word in _GAPS.split(text))
    )


def named(path: Path) -> str:
    """A path as an error may show it, but not a text that is none, such as a key pasted there."""
    text = masked(str(path))
    return "what stands here is no path" if text == MASK else text


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _from_environment(name: str, environ: Mapping[str, str]) -> Secret:
    text = environ.get(name)
    if text is None:
        near = difflib.get_close_matches(name, environ, n=1, cutoff=0.8)
        hint = f"Did you mean {near[0]}?" if near else "Set it, or name another one"
        raise ValueError(f"the environment variable named here is not set. {hint}")
    return Secret(cleaned(text, f"environment variable {name}"))


class _Reference:
    """Teaches pydantic that a Secret is written as a reference."""

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_resolved)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        def reference(key: str, what: str) -> dict[str, Any]:
            text = {"type": "string", "minLength": 1, "description": what}
            return {
                "type": "object",
                "properties": {key: text},
                "required": [key],
                "additionalProperties": False,
            }

        return {
            "oneOf": [
                reference("env", "Name of an environment variable."),
                reference("file", "Path of a file that holds the secret alone."),
            ]
        }


SecretReference = Annotated[Secret, _Reference()]
