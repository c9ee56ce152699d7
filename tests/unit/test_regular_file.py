"""A file that operators name is read only if it is one: nothing waits for a pipe or a device."""

import os

import pytest

from gateway.regular_file import read_file
from gateway.rpc.settings import TlsSettings
from gateway.secret import read_secret_file


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_what_is_no_file_is_refused_at_once(tmp_path, pipe):
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match="is not a regular file"):
            read_file(path)


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_file(tmp_path / "link") == b"content"


def test_a_file_that_is_far_too_large_is_refused(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    with pytest.raises(OSError, match="holds more than 4 MiB"):
        read_file(tmp_path / "file")


def test_the_settings_name_the_pipe_that_stands_for_a_file(pipe):
    with pytest.raises(ValueError, match=f"{pipe}: is not a regular file"):
        TlsSettings(certificate_file=pipe, key_file=pipe)
    with pytest.raises(ValueError, match=f"{pipe} cannot be read: is not a regular file"):
        read_secret_file(pipe)
