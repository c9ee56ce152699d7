import io
import json
import logging
from dataclasses import dataclass, field

import pytest
import structlog

from gateway.secret import Secret
from gateway.telemetry import CALL_FIELDS, LogSettings, configure, set_level


@dataclass
class Request:
    """Something that a library with a way for everything would print with all its members."""

    host: str
    token: str = field(repr=False)


HOSTILE = (
    "line\nfeed",
    "carriage\rreturn",
    "\x1b[31mred",
    "\u2028\u2029\x85",
    "lone \udcff surrogate",
    "nul\x00",
    "日本 ok",
)


def logged(form: str, level: str = "info") -> io.StringIO:
    out = io.StringIO()
    configure(LogSettings.model_validate({"format": form, "level": level}), out)
    return out


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("way", ["structlog", "logging"])
def test_a_json_event_is_one_ascii_line(text: str, way: str) -> None:
    out = logged("json")
    if way == "structlog":
        structlog.get_logger().info(text, name=text, nested={"a": [text]})
    else:
        logging.getLogger("library").warning("%s", text)
    written = out.getvalue()
    assert written.isascii()
    assert written.count("\n") == 1
    assert written.endswith("\n")
    assert "\x1b" not in written
    assert json.loads(written)["event"] == text


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        7,
        1.5,
        True,
        None,
        "\x7f",
        2**70,
        ["a"],
        {"a": 1},
        *HOSTILE,
        Request("h", "s3cret"),
        str.__str__,
    ],
)
def test_the_short_way_of_writing_a_line_says_what_the_long_one_does(value: object) -> None:
    out = logged("json")
    structlog.get_logger().info("event", value=value)
    event = json.loads(out.getvalue())
    assert event["value"] == json.loads(json.dumps(value, default=repr))
    assert out.getvalue().isascii()
    assert "s3cret" not in out.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_console_event_is_one_line_that_a_terminal_does_not_act_on(text: str) -> None:
    out = logged("console")
    structlog.get_logger().info(text, name=text, nested={"a": [text]})
    written = out.getvalue()
    assert len(written.splitlines()) == 1
    assert written.rstrip("\n").isprintable()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_is_not_logged_wherever_it_sits(form: str) -> None:
    out = logged(form, "debug")
    secret = Secret("canary")
    structlog.get_logger().info("signed in", key=secret, nested={"key": [secret]}, text=f"{secret}")
    logging.getLogger("library").warning("key %s %r", secret, secret)
    assert "canary" not in out.getvalue()
    assert out.getvalue().count("***") == 5


def test_an_exception_is_part_of_its_event() -> None:
    out = logged("json")
    try:
        int("broken\x1b")
    except ValueError:
        structlog.get_logger().exception("failed")
    event = json.loads(out.getvalue())
    assert event["level"] == "error"
    assert "ValueError: invalid literal" in event["exception"]


def test_context_level_and_time_come_along() -> None:
    out = logged("json", "warning")
    token = CALL_FIELDS.set({"request_id": "r1"})
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    CALL_FIELDS.reset(token)
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["request_id"]) == ("loud", "warning", "r1")
    assert event["timestamp"].endswith("Z")


@pytest.mark.parametrize("level", ["info", "debug"])
def test_libraries_do_not_tell_in_their_words_what_the_gateway_tells(level: str) -> None:
    out = logged("json", level)
    for _ in range(2):
        for name in ("httpx", "watchfiles.main"):
            logging.getLogger(name).info("1 change detected")
        set_level(LogSettings.model_validate({"level": level}))
    assert out.getvalue() == ""
    logging.getLogger("watchfiles.main").warning("something")
    assert "something" in out.getvalue()


def test_that_a_caller_left_while_it_was_answered_is_no_line() -> None:
    """gRPC calls it an error, with a traceback: any caller could fill the log."""
    out = io.StringIO()
    configure(LogSettings(format="json"), out)
    grpc = logging.getLogger("grpc._cython.cygrpc")
    grpc.error("ExecuteBatchError raised in core by servicer method [/a.B/C]")
    grpc.error("Unexpected error")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == [
        "Unexpected error"
    ]
