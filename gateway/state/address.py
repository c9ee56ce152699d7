"""The address of a shared store: of one server, of sentinels that know which one is the primary, or
of nodes of a cluster.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from gateway.secret import Secret

SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
FORMS: Final = (
    "valkey://USER:PASSWORD@HOST:PORT/DATABASE, valkey+sentinel://HOST:PORT,HOST:PORT/NAME,"
    " valkey+cluster://HOST:PORT,HOST:PORT (valkeys with TLS; redis and rediss mean the same),"
    " or unix:///PATH"
)

_PARTS: Final = re.compile(
    r"(?P<scheme>redis|valkey)(?P<tls>s?)(?:\+(?P<through>sentinel|cluster))?://"
    r"(?:(?P<user>[^@/?]*)@)?(?P<hosts>[^/?]*)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_SOCKET: Final = re.compile(
    r"unix://(?:(?P<user>[^@/?]*)@)?(?P<path>/[^?]+)(?:\?(?P<query>.*))?", re.DOTALL
)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_NAME: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:/(?P<db>[0-9]{1,4}))?")
_DATABASE: Final = re.compile(r"[0-9]{1,4}")
_MAX_PORT: Final = 65535
_SENTINEL_USER: Final = frozenset({"sentinel_username", "sentinel_password"})
_OWN: Final = frozenset({"db", "username", "password", "client_name"})
"""Parameters where the address is the server's own."""
_TLS: Final = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_keyfile",
        "ssl_min_version",
        "ssl_password",
    }
)


class Through(Enum):
    """Who tells where the primary is."""

    NOBODY = ""
    SENTINELS = "sentinel"
    CLUSTER = "cluster"


_FOR: Final = {Through.NOBODY: _OWN, Through.SENTINELS: _SENTINEL_USER}
_ANYTHING: Final = re.compile(".*", re.DOTALL)
_VALUES: Final = {
    "db": (_DATABASE, "the number of a database"),
    "ssl_cert_reqs": (re.compile("none|optional|required"), "none, optional or required"),
    "ssl_check_hostname": (re.compile("(?i:true|false|yes|no|1|0)"), "true or false"),
    "ssl_min_version": (re.compile("77[12]"), "771 (TLS 1.2) or 772 (TLS 1.3)"),
}
"""What some of them may be, and how that is said."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """`primary`: of the server with the data, as the client library reads it; through others, its
    host is yet to be found. `asked`: of those who know it. `name`: of the set that sentinels watch.
    """

    primary: Secret
    through: Through = Through.NOBODY
    asked: tuple[Secret, ...] = ()
    name: str = ""


def parsed(url: str) -> StoreAddress:
    """Raises ValueError with the end of a sentence, without anything of the address, that says what
    is wrong.
    """
    if socket := _SOCKET.fullmatch(url):
        return _of_socket(socket)
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise ValueError(f"needs a url of one of these forms: {FORMS}")
    through = Through(parts["through"] or "")
    default_port = 26379 if through is Through.SENTINELS else 6379
    hosts = [_host(text, default_port) for text in parts["hosts"].split(",")]
    if through is Through.NOBODY and len(hosts) > 1:
        raise ValueError(f"needs a url of one of these forms, if it names several hosts: {FORMS}")
    name, db = _path(parts["path"] or "", through)
    query = _query(parts["query"] or "", through, tls=bool(parts["tls"]))
    user, own = parts["user"], {key: query.pop(key) for key in _SENTINEL_USER & query.keys()}
    scheme, tail = f"redis{parts['tls']}", f"?{urlencode(query)}" if query else ""
    asks = user if through is Through.CLUSTER else _user(own)
    return StoreAddress(
        primary=Secret(_url(scheme, user, hosts[0], f"/{db}{tail}")),
        through=through,
        asked=()
        if through is Through.NOBODY
        else tuple(Secret(_url(scheme, asks, host, f"/{tail}")) for host in hosts),
        name=name,
    )


def _of_socket(parts: re.Match[str]) -> StoreAddress:
    query = _query(parts["query"] or "", Through.NOBODY, tls=False)
    tail = f"?{urlencode(query)}" if query else ""
    return StoreAddress(Secret(_url("unix", parts["user"], quote(unquote(parts["path"])), tail)))


def _host(text: str, default_port: int) -> str:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(
            "needs a url whose hosts are written HOST:PORT and separated by commas; in user and"
            " password write @ as %40, / as %2F and ? as %3F"
        )
    port = int(found[2] or default_port)
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"needs a url whose ports are from 1 to {_MAX_PORT}")
    return f"{found[1]}:{port}"


def _path(path: str, through: Through) -> tuple[str, str]:
    """Name of the set, and number of the database."""
    if through is Through.NOBODY:
        if path and not _DATABASE.fullmatch(path):
            raise ValueError(
                "needs a url whose path is the number of a database, or that has none:"
                " valkey://HOST:PORT/0"
            )
        return "", path or "0"
    if through is Through.CLUSTER:
        if path not in {"", "0"}:
            raise ValueError("needs a url without a path for a cluster, which has one database")
        return "", "0"
    found = _NAME.fullmatch(path)
    if found is None:
        raise ValueError(
            "needs a url that names, after the sentinels, the set that they watch:"
            " valkey+sentinel://HOST:PORT,HOST:PORT/NAME"
        )
    return found["name"], found["db"] or "0"


def _query(text: str, through: Through, *, tls: bool) -> dict[str, str]:
    known = (_TLS if tls else frozenset()) | _FOR.get(through, frozenset())
    pairs = parse_qsl(text, keep_blank_values=True)
    if len({key for key, _ in pairs}) < len(pairs) or not known.issuperset(dict(pairs)):
        raise ValueError(f"has a url with a parameter that means nothing here. {_known(known)}")
    for key, value in pairs:
        form, said = _VALUES.get(key, (_ANYTHING, ""))
        if not form.fullmatch(value):
            raise ValueError(f"has a url whose parameter {key} is not {said}")
    return dict(pairs)


def _known(known: Collection[str]) -> str:
    if not known:
        return "Without TLS it takes none"
    return f"Each of these may be given once: {', '.join(sorted(known))}"


def _user(own: dict[str, str]) -> str | None:
    if not own:
        return None
    name, password = (own.get(f"sentinel_{part}", "") for part in ("username", "password"))
    return f"{quote(name, safe='')}:{quote(password, safe='')}"


def _url(scheme: str, user: str | None, host: str, rest: str) -> str:
    """Whatever stands in user and password means itself."""
    name, mark, password = (user or "").partition(":")
    own = f"{quote(unquote(name), safe='')}{mark}{quote(unquote(password), safe='')}"
    return f"{scheme}://{f'{own}@' if user else ''}{host}{rest}"
