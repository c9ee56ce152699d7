"""What is checked in every language.

A test that has passed makes an empty file of its check's name in the folder CBR_TEST_RESULTS.
"""

from collections.abc import Mapping
from typing import Final

CHECKS: Final[Mapping[str, str]] = {
    "unary": "a vault is created, read, listed and deleted over TLS with an API key",
    "token": "a call with a JWT that a function supplies",
    "error": "a wrong field gives a typed error: reason, field path, call id",
    "retry": (
        "the answer of a create is lost: the client repeats it with the same request_id, and CBR"
        " sees one create"
    ),
    "retry-large": "a change of a megabyte is repeated like any other: clients/frame/script.py",
    "quota": "a limit's refusal is typed, and the call goes through after the delay that it names",
    "retry-when-limited": (
        "a change that a limit has refused is repeated with the request_id that it had:"
        " clients/frame/script.py"
    ),
    "watch": (
        "a backup is watched to its end while the gateway is restarted: one terminal event, and it"
        " is a success"
    ),
    "resume": (
        "the watch goes on through cuts, silence, expired tokens and missing events, and tells each"
        " state once: clients/frame/script.py"
    ),
    "waits": (
        "a backup is run and waited for; failed, skipped, unknown and open work each end a wait in"
        " their own way: clients/frame/waits.py"
    ),
    "pages": "all rows of a list, page by page and with a page ahead: clients/frame/lists.py",
    "vectors": "every vector of clients/vectors.json is read and written back",
    "addresses": (
        "every address of clients/addresses.json is taken, or refused before any call in the words"
        " that stand there"
    ),
    "wrong-key": "an unknown API key is UNAUTHENTICATED, with its reason",
    "wrong-ca": "a gateway whose certificate is not trusted: the error says so",
    "client-certificate": (
        "a certificate of our own, from memory and from files; files that have changed count for"
        " the next connection, or the next channel"
    ),
    "kinds": (
        "an expired certificate, plain text where TLS is asked for, and the reverse: the error says"
        " which"
    ),
    "unreachable": "nobody listens: the error says so",
    "deadline": "the deadline passes: the error says so",
    "connect": "the HTTP listener, by the clients that the makers of Connect publish",
    "grpc-web": "the same by those for gRPC-Web",
    "example": "the example runs against the package in dist",
    "story": (
        "the program of the README, from a vault to a report in 25 lines, runs as it stands there:"
        " clients/frame/story.py"
    ),
}
ONLY: Final[Mapping[str, str]] = {"connect": "typescript", "grpc-web": "typescript"}
"""Checks that one language alone has: they hold the gateway, whatever calls it."""
