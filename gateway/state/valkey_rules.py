"""What a Valkey answers that cannot do what it is asked, and what follows: one rule for each such
answer.

Whatever the rule: the server is left, as another one may stand at its address by now.
"""

import re
from enum import Enum
from typing import Final

from msgspec import Struct
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.connect_failure import ConnectFailure, Where, connect_failure


class Then(Enum):
    """Who has to do something."""

    FOLLOW = "another server has its place: the address is looked up anew"
    WAIT = "it ends by itself"
    REPORT = "an operator has to act"
    TEACH = "it is told again at once"


class Rule(Struct, frozen=True):
    """What an answer means, what follows, and what an operator can do."""

    means: str
    then: Then
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.means}; {self.advice or self.then.value}"


class NotFoundError(RedisError):
    """Where the primary is could not be learnt. The text is for operators. `lasting`: waiting does
    not help.
    """

    def __init__(self, text: str, *, lasting: bool = False) -> None:
        super().__init__(text)
        self.lasting = lasting


_CLUSTER: Final = "give state.url nodes of the cluster: valkey+cluster://"
RULES: Final = {
    "READONLY": Rule(
        "it is a replica", Then.FOLLOW, "if that lasts, let state.url lead to the primary"
    ),
    "MASTERDOWN": Rule(
        "it is a replica that has lost its primary",
        Then.FOLLOW,
        "if that lasts, let state.url lead to the primary",
    ),
    "NOREPLICAS": Rule(
        "it has too few replicas that answer",
        Then.FOLLOW,
        "if that lasts, bring replicas back, or lower min-replicas-to-write or state.copies",
    ),
    "MOVED": Rule(
        "it is a node of a cluster, and another one holds the data",
        Then.FOLLOW,
        f"if that lasts, {_CLUSTER}",
    ),
    # Not followed: a script derives its keys, and would miss those that have not moved yet.
    "ASK": Rule("it is a node of a cluster that is moving the data", Then.WAIT),
    "TRYAGAIN": Rule("it is a node of a cluster that is moving the data", Then.WAIT),
    "CLUSTERDOWN": Rule(
        "it is a node of a cluster that does not serve",
        Then.WAIT,
        "if that lasts, mend the cluster",
    ),
    "CROSSSLOT": Rule(
        "it finds the keys in several slots",
        Then.REPORT,
        "let no proxy change keys: all of them carry one hash tag",
    ),
    "LOADING": Rule("it is reading its data", Then.WAIT),
    "BUSY": Rule(
        "it is running a script of somebody else",
        Then.WAIT,
        "if that lasts, end it with SCRIPT KILL, and keep the server to gateways",
    ),
    "UNKILLABLE": Rule("it is running a script that cannot be ended", Then.REPORT, "restart it"),
    "OOM": Rule(
        "its memory is used up",
        Then.REPORT,
        "raise maxmemory or remove what others keep in it; maxmemory-policy has to be noeviction",
    ),
    "MISCONF": Rule(
        "it cannot write to its disk", Then.REPORT, "make room on its disk; its log has the cause"
    ),
    "NOAUTH": Rule("it wants a password", Then.REPORT, "put user and password into state.url"),
    "WRONGPASS": Rule(
        "it does not know this user and password",
        Then.REPORT,
        "correct user and password in state.url",
    ),
    "NOPERM": Rule(
        "its user may not do that",
        Then.REPORT,
        "allow the user all commands on the keys that begin with state.prefix in braces",
    ),
    "DB index is out of range": Rule(
        "it has no database of this number", Then.REPORT, "correct the number in state.url"
    ),
    "SELECT is not allowed in cluster mode": Rule(
        "it is a node of a cluster, which has one database",
        Then.REPORT,
        "leave the number of the database out of state.url",
    ),
    "NOSCRIPT": Rule("it does not know a script", Then.TEACH),
    "max number of clients reached": Rule(
        "it has too many clients", Then.REPORT, "raise maxclients"
    ),
    "unknown command": Rule(
        "it does not know a command",
        Then.REPORT,
        "use Valkey 7.2 or later, or Redis 6.2 or later, and rename no commands; give sentinels as"
        " valkey+sentinel://",
    ),
}
_CLIENT: Final = (
    "if it asks for a client certificate, it takes the one of ssl_certfile in state.url"
)
_STORE: Final = Where("state.url", "valkeys://", "ssl_ca_certs in state.url", _CLIENT)
_CLOSED: Final = (
    "the shared store has closed the connection, or it came to nothing: check that it runs, the"
    " network of this machine, whether it speaks TLS, so that state.url has to begin with"
    f" valkeys://, and that, {_CLIENT}"
)
_WRONG: Final = frozenset({"MOVED", "CROSSSLOT"})
_FOUND: Final = re.compile(rf"(?:^|-|\(')({'|'.join(map(re.escape, RULES))})\b")
"""At the beginning, or in the words that a script or a pipeline puts around it."""


def explained(error: Exception) -> str:
    """What failed, for operators.

    The text of an error may name the server or hold what was sent: only its kind goes on.
    """
    if isinstance(error, NotFoundError):
        return str(error)
    if found := rule_of(error) if isinstance(error, RedisError) else None:
        return f"the shared store answers {found[0]}: {found[1]}"
    if isinstance(error, RedisTimeoutError | TimeoutError):
        return f"the shared store does not answer in time: {ConnectFailure.SILENT.advice(_STORE)}"
    if isinstance(error, InvalidResponse):
        return (
            "the shared store does not speak the protocol of Valkey: check host and port of"
            " state.url"
        )
    if isinstance(error, RedisConnectionError | OSError):
        failure = connect_failure(error)
        return _CLOSED if failure is ConnectFailure.OTHER else _unreachable(failure)
    return f"the shared store failed: {type(error).__name__}"


def _unreachable(failure: ConnectFailure) -> str:
    return f"the shared store cannot be reached: {failure.problem}; {failure.advice(_STORE)}"


def wrong_store(error: Exception, *, follows: bool) -> bool:
    """Whether a gateway must not start with the server: every call would end like this one.

    `follows`: it asks others where the data are, also when they move.
    """
    if isinstance(error, NotFoundError):
        return error.lasting
    found = rule_of(error) if isinstance(error, RedisError) else None
    return found is not None and found[0] in (_WRONG - {"MOVED"} if follows else _WRONG)


def rule_of(error: RedisError) -> tuple[str, Rule] | None:
    """The answer and its rule; None for what is no answer of this kind, such as a cut."""
    code = error.status_code or ""
    if code not in RULES:
        found = _FOUND.search(str(error))
        code = found[1] if found else ""
    return (code, RULES[code]) if code else None
