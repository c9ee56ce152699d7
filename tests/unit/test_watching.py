"""The watch over the directory of tenants: whatever becomes of the directory, its files are seen as
they are.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.config import watching
from gateway.config.watching import DirectoryWatch

WITHIN_S = 60


class Watched:
    """A directory behind a link, `current`, with the file `a.yaml` in it, and a watch that has
    taken its first look.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("one", "two"):
            (folder / name).mkdir()
            (folder / name / "a.yaml").write_text(name)
        (folder / "current").symlink_to("one")
        self.path = folder / "current"
        self._told = threading.Semaphore(0)
        self.watch = DirectoryWatch(self.path, self._told.release)
        self.is_told()

    def is_told(self) -> None:
        assert self._told.acquire(timeout=WITHIN_S), "the change was not seen"

    def forget(self) -> None:
        """What was told so far, once it is quiet."""
        while self._told.acquire(timeout=0.6):
            pass


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(watching, "_LOOK_MS", 150)
    found = Watched(tmp_path)
    yield found
    found.watch.stop()


def replace_directory(here: Watched) -> None:
    (here.folder / "one").rename(here.folder / "old")
    (here.folder / "two").rename(here.folder / "one")


def swap_link(here: Watched) -> None:
    (here.folder / "next").symlink_to("two")
    (here.folder / "next").rename(here.path)


def remove_directory(here: Watched) -> None:
    shutil.rmtree(here.folder / "one")


def link_a_file_and_change_its_target(here: Watched) -> None:
    target = here.folder / "elsewhere"
    target.write_text("x")
    (here.path / "b.yaml").symlink_to(target)
    here.is_told()
    here.forget()
    target.write_text("xy")


def write_and_hide_it(here: Watched) -> None:
    """As a copy does that keeps times."""
    file = here.path / "a.yaml"
    before = file.stat()
    file.write_text("eno")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Watched], object]] = {
    "written": lambda here: (here.path / "a.yaml").write_text("more"),
    "written with its time kept": write_and_hide_it,
    "made readable": lambda here: (here.path / "a.yaml").chmod(0o640),
    "added": lambda here: (here.path / "b.yaml").write_text(""),
    "removed": lambda here: (here.path / "a.yaml").unlink(),
    "behind a link that was moved": swap_link,
    "in a directory that took its place": replace_directory,
    "gone with the directory": remove_directory,
    "the target of a link": link_a_file_and_change_its_target,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_is_seen_that_is(watched: Watched, change: str) -> None:
    CHANGES[change](watched)
    watched.is_told()


@pytest.mark.parametrize("other", [swap_link, replace_directory, remove_directory])
def test_what_takes_the_place_of_a_directory_is_watched_in_its_turn(
    watched: Watched, other: Callable[[Watched], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    other(watched)
    watched.is_told()
    if other is remove_directory:
        (watched.folder / "one").mkdir()
        (watched.path / "a.yaml").write_text("again")
        watched.is_told()
    watched.forget()
    # By an event: the next look by itself is far away, once the one under way is over.
    monkeypatch.setattr(watching, "_LOOK_MS", 600_000)
    (watched.path / "a.yaml").write_text("more")
    watched.is_told()
    (watched.path / "a.yaml").write_text("and more")
    watched.is_told()


def test_a_mount_is_noticed(watched: Watched) -> None:
    """No event tells of one."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "none", watched.folder / "one"], capture_output=True, check=False
    ).returncode:
        pytest.skip("may not mount")
    try:
        watched.is_told()
        (watched.path / "b.yaml").write_text("")
        watched.is_told()
    finally:
        subprocess.run(["umount", "-l", watched.folder / "one"], check=True)
    watched.is_told()


def test_a_watch_that_was_stopped_tells_nothing(watched: Watched) -> None:
    watched.watch.stop()
    (watched.path / "a.yaml").write_text("more")
    assert not watched._told.acquire(timeout=0.5)
