"""Why an address cannot be listened on, and what to do."""

import contextlib
import errno
import os
import socket

import pytest

from gateway.rpc.port import AddressInUse, held_port, refused


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EADDRINUSE, "the port is taken. Choose another one or stop the other process"),
        (errno.EADDRNOTAVAIL, "the address is not one of this machine. Choose one that is"),
        (errno.EACCES, "this user may not listen on it. Choose a port from 1024 on"),
        (errno.EMFILE, "the port is taken, or the address is not one of this machine."),
    ],
)
def test_it_is_told_by_what_the_system_says(number, text):
    problem = AddressInUse("127.0.0.1:80", OSError(number, os.strerror(number)))
    assert str(problem).startswith(f"cannot listen on 127.0.0.1:80: {text}")
    assert problem.taken == (number == errno.EADDRINUSE)


def test_it_is_found_out_for_who_is_not_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        problem = refused(f"127.0.0.1:{taken.getsockname()[1]}")
    assert problem is not None
    assert problem.errno == errno.EADDRINUSE
    assert refused("127.0.0.1:0") is None


def test_a_name_that_is_none_is_told():
    with (
        contextlib.ExitStack() as stack,
        pytest.raises(AddressInUse, match="there is no such name"),
    ):
        held_port(stack, "no-such-name.invalid:50051")
