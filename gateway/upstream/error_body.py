"""What an error body says that is no strict JSON: in another encoding, behind a byte order mark,
cut, or with repeated keys.

Nothing follows from what such a body says but why a call failed and, where the code in it is the
cloud's own, that the cloud refused it. So only members that stand there whole are taken, and none
that is there twice with different values.
"""

import codecs
import json
import re
from typing import Final

MAX_BYTES: Final = 65_536
"""Of a longer body only the beginning is looked at."""
_GUESSES: Final = ("utf-8", "gb18030")
"""Tried in this order. Every byte is Latin-1, and codes are ASCII in all of them."""
_WRAPPER: Final = re.compile(r'\{\s*"(\w+)"\s*:\s*(?=\{)')
_MEMBER: Final = re.compile(r'"(\w+)"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|(\d+)(?=\s*[,}]))', re.DOTALL)


def members(body: bytes) -> dict[str, object]:
    """The texts and whole numbers of an object, below the key of the object that wraps it, if one
    does; empty for anything else.
    """
    text = _text(body[:MAX_BYTES]).lstrip()
    if not text.startswith("{"):
        return {}
    found: dict[str, str] = {}
    twice = set()
    for key, word, number in _MEMBER.findall(text):
        value = word or number
        if found.setdefault(key, value) != value:
            twice.add(key)
    told: dict[str, object] = {key: value for key, value in found.items() if key not in twice}
    wrapper = _WRAPPER.match(text)
    return {wrapper[1]: told} if wrapper else told


def _text(body: bytes) -> str:
    """The body as text, whose last character may be cut."""
    detected = json.detect_encoding(body)
    for name in _GUESSES if detected == "utf-8" else (detected,):
        try:
            return codecs.getincrementaldecoder(name)().decode(body)
        except UnicodeDecodeError:
            continue
    return body.decode("latin-1")
