"""Signals at every moment of a gateway's life: while it starts, while it serves, and while it
ends.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.functional.serving import Gateway, configuration


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """It reads its configuration from a pipe."""
    os.mkfifo(tmp_path / "gateway.yaml")
    found = Gateway(tmp_path / "gateway.yaml")
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def test_a_reload_asked_for_while_it_starts_is_made_once_it_serves(gateway: Gateway) -> None:
    with gateway.asked_for() as given:
        gateway.process.send_signal(signal.SIGHUP)
        given.append(yaml.safe_dump(configuration()))
    gateway.until("serving")
    # Nobody has asked since: it reads again because of the signal that came before.
    gateway.configured(limits=[{"metric": "vaults", "value": 7}])
    gateway.until("configuration active")
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_asked_for_while_it_reads_its_configuration_is_clean(
    gateway: Gateway, number: signal.Signals
) -> None:
    with gateway.asked_for():
        for _ in range(12):
            # A signal that comes just before a read begins does not interrupt it; the next one
            # does, and has Python hear of both.
            gateway.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                gateway.process.wait(5)
                break
        assert gateway.process.poll() == 0
    assert gateway.process.stderr is not None
    assert gateway.process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_asked_for_while_it_opens_its_parts_is_clean(
    gateway: Gateway, tmp_path: Path, number: signal.Signals
) -> None:
    """It waits for a store that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tmp_path / "url").write_text(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        gateway.configured(
            state={"kind": "valkey", "url": {"file": str(tmp_path / "url")}, "timeout_s": 5}
        )
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            gateway.process.send_signal(signal.SIGHUP)
            gateway.process.send_signal(number)
            assert gateway.process.wait(60) == 0
    assert gateway.event() == "stopped"


@pytest.mark.parametrize("pipe", ["anchors", "log/one.00000001.jsonl", "log/gone.00000001.jsonl"])
def test_an_end_asked_for_while_a_pipe_is_looked_at_is_clean(
    gateway: Gateway, tmp_path: Path, pipe: str
) -> None:
    """The start does not wait for one who writes to it: either it hears of the end first, or it has
    refused the pipe by then.
    """
    (tmp_path / "log").mkdir()
    os.mkfifo(tmp_path / pipe)
    (tmp_path / "key").write_text("k" * 40)
    places = {
        "directory": str(tmp_path / "log"),
        "anchors": str(tmp_path / "anchors"),
        "key": {"file": str(tmp_path / "key")},
    }
    gateway.configured(audit=places | {"writer": "one"})
    # It is open for reading at the other end once this one can be opened.
    with (tmp_path / pipe).open("w"):
        gateway.process.send_signal(signal.SIGTERM)
        code, said = gateway.process.wait(60), gateway.process.stderr.read()
    refused = code == 1 and str(tmp_path / pipe) in said and "is not a regular file" in said
    assert code == 0 or refused, said


@contextlib.contextmanager
def asked_all_the_time(
    gateway: Gateway, number: signal.Signals = signal.SIGHUP, every_s: float = 0.005
) -> Iterator[None]:
    """From the moment when it hears signals: SIGHUP is the last that it installs, and none that
    Python does. It may have been ignored before: then it says nothing of the others.
    """
    done, process = threading.Event(), gateway.process

    def ask() -> None:
        begun = False
        while not done.wait(every_s):
            # Its files in /proc go before we know of its end.
            with contextlib.suppress(OSError):
                begun = begun or hears(process.pid, signal.SIGHUP, ("SigCgt",))
                if begun:
                    process.send_signal(number)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def hears(pid: int, number: signal.Signals, kinds: tuple[str, ...] = ("SigCgt", "SigIgn")) -> bool:
    """Whether the process has a handler for the signal, or ignores it."""
    masks = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return any(int(masks.get(kind, "0").strip(), 16) >> (number - 1) & 1 for kind in kinds)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_reloads_asked_for_all_the_time_disturb_neither_the_start_nor_the_end(
    tmp_path: Path,
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(configuration()))
    gateway = Gateway(config)
    with gateway.process, asked_all_the_time(gateway):
        try:
            gateway.until("serving")
            gateway.until("configuration active")
            gateway.process.send_signal(signal.SIGTERM)
            gateway.until("stopped")
            assert gateway.process.wait(60) == 0
        finally:
            gateway.process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_asked_for_all_the_time_is_clean_from_the_first_moment_to_the_last(
    tmp_path: Path, number: signal.Signals
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(configuration()))
    for _ in range(5):
        gateway = Gateway(config)
        with gateway.process, asked_all_the_time(gateway, number, 0.0005):
            assert gateway.process.wait(60) == 0
            assert gateway.process.stderr is not None
            assert "Exception ignored" not in gateway.process.stderr.read()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_an_end_asked_for_all_the_time_while_it_serves_is_clean(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(configuration()))
    gateway = Gateway(config)
    with gateway.process:
        gateway.until("serving")
        with asked_all_the_time(gateway, signal.SIGTERM, 0.0005):
            assert gateway.process.wait(60) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_start_that_fails_says_so_whatever_reloads_are_asked_for(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "nothing.yaml")
    with gateway.process, asked_all_the_time(gateway):
        assert gateway.process.wait(60) == 1
        assert gateway.event().startswith("Error: ")


def test_a_reload_that_hangs_does_not_keep_it_from_ending(gateway: Gateway) -> None:
    """Its file is on a disk that does not answer: a pipe that nobody writes to."""
    gateway.configured()
    gateway.until("serving")
    gateway.process.send_signal(signal.SIGHUP)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_signals_that_mean_nothing_to_it_do_not_end_it(
    gateway: Gateway, number: signal.Signals
) -> None:
    with gateway.asked_for() as given:
        gateway.process.send_signal(number)
        given.append(yaml.safe_dump(configuration()))
    gateway.until("serving")
    gateway.process.send_signal(number)
    gateway.process.send_signal(signal.SIGHUP)
    gateway.configured()
    gateway.until("configuration active")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_started_with_sighup_ignored_it_is_safe_from_it_before_its_first_step(
    tmp_path: Path,
) -> None:
    """As `trap '' HUP` in a shell does; and once it serves, it hears it all the same."""
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(configuration()))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        gateway = Gateway(config)
    finally:
        signal.signal(signal.SIGHUP, before)
    with gateway.process, asked_all_the_time(gateway, every_s=0.0005):
        try:
            gateway.until("serving")
            gateway.until("configuration active")
        finally:
            gateway.process.kill()
