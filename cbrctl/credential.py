"""A credential as it was read: without what editors put around it, and never shown."""

import os
from stat import S_ISREG
from typing import Final

_MOST: Final = 64 * 1024
_EDGES: Final = " \t\r\n"


def cleaned(text: str, what: str) -> str:
    """Raises ValueError, which names the place and not the credential, for a character that cannot
    stand in a header: such a credential was copied badly.
    """
    credential = text.strip(_EDGES)
    if not credential:
        raise ValueError(f"{what} is empty. Put the API key or token into it")
    if credential.lower().startswith("bearer "):
        raise ValueError(f"{what} begins with 'Bearer'. Leave that out: it is put before by itself")
    for place, character in enumerate(credential, start=1):
        if not "!" <= character <= "~":
            import unicodedata

            name = unicodedata.name(character, "CONTROL CHARACTER")
            raise ValueError(
                f"{what} holds U+{ord(character):04X} ({name}) as character {place} of"
                f" {len(credential)}, which cannot stand in a header. Remove it"
            )
    return credential


def read(path: str) -> str:
    """The credential that a file holds alone. What is no regular file is refused, never awaited."""
    try:
        # Without this flag opening a pipe waits for its writer.
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(opened, "rb") as file:
            if not S_ISREG(os.fstat(opened).st_mode):
                raise ValueError(f"{path} is not a regular file. Name one that holds the API key")
            text = file.read(_MOST).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text. Put the API key alone into it") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return cleaned(text, path)
