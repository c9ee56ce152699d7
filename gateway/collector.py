"""Where an OpenTelemetry collector is, as settings name it."""

from pathlib import Path
from urllib.parse import SplitResult, urlsplit


def collector(text: str, port: int) -> SplitResult:
    """The parts of an address. Raises ValueError, with an example that has the `port`."""
    example = f"https://collector.example.com:{port}"
    where = urlsplit(text)
    try:
        _ = where.port
    except ValueError as error:
        raise ValueError(
            f"is no address of a collector: its port is no number. Write it as {example}"
        ) from error
    if where.scheme not in {"http", "https"} or not where.hostname or where.query or where.username:
        raise no_collector(port)
    return where


def no_collector(port: int) -> ValueError:
    """An address is none."""
    return ValueError(
        f"is no address of a collector. Write it as https://collector.example.com:{port}, or"
        " http:// for plain text"
    )


def check_authorities(endpoint: str, ca_file: Path | None) -> None:
    """Raises ValueError for authorities of a collector that is reached in plain text."""
    if ca_file is not None and not endpoint.startswith("https"):
        raise ValueError(
            "has a ca_file and an endpoint in plain text. Begin the endpoint with https://"
        )
