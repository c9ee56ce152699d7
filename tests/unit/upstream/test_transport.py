"""The conformance suite of both transports, against a server that shows and sends raw bytes."""

import asyncio
import contextlib
import gc
import gzip
import random
import socket
import tracemalloc

import pytest
from pydantic import ValidationError

from gateway.upstream.auth import Applied
from gateway.upstream.body import begin_body
from gateway.upstream.credentials import AccessKey, Secret
from gateway.upstream.http import (
    MAX_BODY_BYTES,
    HttpRequest,
    HttpResponse,
    Lost,
    NotSent,
    TooLarge,
    TransportSettings,
)
from gateway.upstream.http_httptools import HttptoolsTransport
from gateway.upstream.http_httpx import HttpxTransport
from gateway.upstream.transport import open_transport
from tests.unit.upstream.raw_server import (
    all_closed,
    always,
    answer,
    cancelled_everywhere,
    raw_server,
)


@pytest.fixture(params=["httpx", "httptools"])
def library(request):
    return request.param


@pytest.fixture
async def transport(library, certificate):
    # To read the system's authorities takes longer than most of these tests.
    opened = open_transport(
        TransportSettings(transport=library, max_connections=8, ca_file=certificate)
    )
    yield opened
    await opened.aclose()


def get(url: str, **headers: str) -> HttpRequest:
    return HttpRequest("GET", url, headers)


def post(url: str, body: bytes = b'{"a":1}') -> HttpRequest:
    return HttpRequest("POST", url, {"Content-Type": "application/json"}, body)


async def test_auto_takes_the_fast_one():
    for name, proxy, kind in (
        ("auto", None, HttptoolsTransport),
        ("auto", "http://127.0.0.1:1", HttpxTransport),
        ("httptools", None, HttptoolsTransport),
        ("httpx", None, HttpxTransport),
    ):
        opened = open_transport(TransportSettings(transport=name, proxy=proxy))
        assert type(opened) is kind
        await opened.aclose()


def test_a_proxy_is_refused_where_the_transport_knows_none():
    with pytest.raises(ValidationError, match="knows no proxies"):
        TransportSettings(transport="httptools", proxy="http://127.0.0.1:1")


# What goes out, and how often.


async def test_the_target_and_the_headers_arrive_byte_for_byte(transport):
    target = "/v3/p%2Fq/../x/%7e%C3%bc;a?name=a%20b%2B%2b+c&status=x&status=a&empty=&%5B%5D=[]|'\"<>\\^`{}"  # noqa: E501 - as it stands on the wire
    async with raw_server(always(answer())) as server:
        await transport.send(
            get(server.origin + target, **{"X-Sdk-Date": "2025  x", "x-lower": "é".encode().hex()}),
            5,
        )
        head = server.requests[0]
    assert head.split(b"\r\n")[0] == b"GET " + target.encode() + b" HTTP/1.1"
    assert b"\r\nX-Sdk-Date: 2025  x\r\n" in head
    assert b"\r\nx-lower: c3a9\r\n" in head


async def test_nothing_but_framing_is_added(transport):
    async with raw_server(always(answer())) as server:
        await transport.send(post(server.origin + "/a"), 5)
        lines = server.requests[0].split(b"\r\n\r\n")[0].lower().split(b"\r\n")[1:]
    names = {line.split(b":")[0] for line in lines}
    assert names - {b"connection"} == {
        b"host",
        b"content-type",
        b"content-length",
        b"accept-encoding",
    }
    assert server.requests[0].endswith(b'\r\n\r\n{"a":1}')


async def test_a_host_header_of_the_request_is_the_only_one(transport):
    async with raw_server(always(answer())) as server:
        await transport.send(get(server.origin + "/a", Host="cbr.example"), 5)
        hosts = [
            line for line in server.requests[0].split(b"\r\n") if line.lower().startswith(b"host:")
        ]
    assert hosts == [b"Host: cbr.example"]


@pytest.mark.parametrize(
    "request_",
    [
        get("http://127.0.0.1:1/a", **{"X-A": "b\r\nX-C: d"}),
        get("http://127.0.0.1:1/a", **{"X-A": "b\nc"}),
        get("http://127.0.0.1:1/a", **{"X-A\r\nX-C": "b"}),
        get("http://127.0.0.1:1/a", **{"X-A": "\x00"}),
        get("http://127.0.0.1:1/a b"),
        get("http://127.0.0.1:1/a\r\nX: y"),
        get("http://127.0.0.1:1/ü"),
        get("http://127.0.0.1:1/a#b"),
        get("http://user:word@127.0.0.1:1/a"),
        get("http://127.0.0.1:1"),
        get("ftp://127.0.0.1/a"),
    ],
)
async def test_a_request_that_would_not_arrive_as_given_is_refused(transport, request_):
    with pytest.raises(ValueError):
        await transport.send(request_, 5)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirects_are_answers(transport, status):
    async with raw_server(
        always(answer(b"", status, "Location: /other\r\nSet-Cookie: a=b\r\n"))
    ) as server:
        response = await transport.send(get(server.origin + "/a"), 5)
        again = await transport.send(get(server.origin + "/a"), 5)
    assert (response.status, response.headers["location"]) == (int(status[:3]), "/other")
    assert again.status == response.status
    assert len(server.requests) == 2
    assert not any(b"cookie" in request.lower() for request in server.requests)


async def test_the_environment_sets_no_proxy(library, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    opened = open_transport(TransportSettings(transport=library))
    async with raw_server(always(answer())) as server:
        assert (await opened.send(get(server.origin + "/a"), 5)).status == 200
    await opened.aclose()


async def test_the_proxy_of_the_settings_is_used_with_the_target_as_given():
    async with raw_server(always(answer(b"by proxy"))) as server:
        opened = open_transport(TransportSettings(proxy=server.origin))
        response = await opened.send(get("http://cbr.invalid/v3/..%2f/a?b=%7e"), 5)
        await opened.aclose()
    assert response.body == b"by proxy"
    assert server.requests[0].startswith(b"GET http://cbr.invalid/v3/..%2f/a?b=%7e HTTP/1.1\r\n")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_no_status_is_tried_again(transport, status):
    async with raw_server(always(answer(b"no", f"{status} Bad", "Retry-After: 0\r\n"))) as server:
        response = await transport.send(get(server.origin + "/a"), 5)
    assert (response.status, response.body, len(server.requests)) == (status, b"no", 1)


# Answers.


async def test_an_answer_has_lower_case_names_and_its_whole_body(transport):
    chunked = (
        b"HTTP/1.1 200 OK\r\nX-Request-Id: Abc\r\nTransfer-Encoding:"
        b" chunked\r\n\r\n2\r\n{}\r\n1\r\n \r\n0\r\n\r\n"
    )
    async with raw_server(always(chunked)) as server:
        response = await transport.send(get(server.origin + "/a"), 5)
    assert response == HttpResponse(
        200, {"x-request-id": "Abc", "transfer-encoding": "chunked"}, b"{} "
    )


async def test_an_answer_without_a_body(transport):
    async with raw_server(always(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        response = await transport.send(HttpRequest("DELETE", server.origin + "/a", {}), 5)
        assert (
            await transport.send(HttpRequest("DELETE", server.origin + "/a", {}), 5)
        ).status == 204
    assert (response.status, response.body, server.open_most) == (204, b"", 1)


async def test_a_long_header_such_as_an_iam_token_is_read(transport):
    token = "t" * 64 * 1024
    async with raw_server(
        always(answer(b"", "201 Created", f"X-Subject-Token: {token}\r\n"))
    ) as server:
        response = await transport.send(post(server.origin + "/v3/auth/tokens"), 5)
    assert response.headers["x-subject-token"] == token


async def test_a_gzip_answer_is_decoded(transport):
    packed = gzip.compress(b"hello" * 1000)
    async with raw_server(always(answer(packed, headers="Content-Encoding: gzip\r\n"))) as server:
        response = await transport.send(get(server.origin + "/a"), 5)
    assert response.body == b"hello" * 1000


async def test_several_gzip_members_are_one_body(transport):
    packed = b"".join(gzip.compress(part) for part in (b"hello ", b"", b"world"))
    async with raw_server(always(answer(packed, headers="Content-Encoding: gzip\r\n"))) as server:
        assert (await transport.send(get(server.origin + "/a"), 5)).body == b"hello world"
    many = gzip.compress(bytes(MAX_BODY_BYTES // 4)) * 5
    async with raw_server(always(answer(many, headers="Content-Encoding: gzip\r\n"))) as server:
        with pytest.raises(TooLarge):
            await transport.send(get(server.origin + "/a"), 5)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " X-GZip "])
async def test_zeros_behind_a_gzip_member_are_no_part_of_the_body(transport, encoding):
    padded = b"".join(gzip.compress(part) + bytes(100_000) for part in (b"hello ", b"world"))
    header = f"Content-Encoding: {encoding}\r\n"
    async with raw_server(always(answer(padded, headers=header))) as server:
        assert (await transport.send(get(server.origin + "/a"), 5)).body == b"hello world"


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Inside", "503 Away"])
async def test_of_an_error_with_a_body_over_the_cap_the_status_counts(transport, status):
    body = b"x" * (MAX_BODY_BYTES + 1)
    async with raw_server(always(answer(body, status))) as server:
        response = await transport.send(get(server.origin + "/a"), 10)
        assert (response.status, response.body) == (int(status[:3]), b"")
        assert "content-length" in response.headers
        await all_closed(server)


@pytest.mark.parametrize("together", [True, False])
async def test_announcements_before_the_answer_are_passed_over(transport, together):
    first, second = (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n",
    )

    async def announced(connection):
        while await connection.request() is not None:
            for part in (
                [first + second + answer(b"here")] if together else [first, second, answer(b"here")]
            ):
                await connection.send(part)
                await asyncio.sleep(0.01)

    async with raw_server(announced) as server:
        for _ in range(2):
            response = await transport.send(get(server.origin + "/a"), 5)
            assert response == HttpResponse(200, {"content-length": "4"}, b"here")
    assert server.open_most == 1


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["lines without CR", "blanks after a size", "no phrase"],
)
async def test_old_habits_of_servers_are_read(transport, content):
    async with raw_server(always(content)) as server:
        for _ in range(2):
            assert (await transport.send(get(server.origin + "/a"), 5)).body == b"{}"
    assert server.open_most == 1


@pytest.mark.parametrize(
    "headers",
    ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "X-A: a\x00b\r\n", "X A: b\r\n"],
    ids=["two lengths", "a length and chunks", "NUL in a value", "blank in a name"],
)
async def test_a_head_that_can_be_read_in_two_ways_is_lost(transport, headers):
    async with raw_server(always(answer(headers=headers))) as server:
        with pytest.raises(Lost):
            await transport.send(get(server.origin + "/a"), 0.5)


async def test_trailers_are_no_headers(transport):
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nRetry-After:"
        b" 9\r\n\r\n"
    )
    async with raw_server(always(chunked)) as server:
        for _ in range(2):
            assert (await transport.send(get(server.origin + "/a"), 5)).headers == {
                "transfer-encoding": "chunked"
            }
    assert server.open_most == 1


async def test_a_body_without_a_length_ends_with_the_connection(transport):
    async def to_the_end(connection):
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nhalf ")
        await asyncio.sleep(0.02)
        await connection.send(b"and half")

    async with raw_server(to_the_end) as server:
        for _ in range(2):
            assert (await transport.send(get(server.origin + "/a"), 5)).body == b"half and half"


async def test_a_body_without_a_length_is_lost_with_a_reset(transport):
    async def reset(connection):
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nhalf ")
        await asyncio.sleep(0.02)
        connection.reset()

    async with raw_server(reset) as server:
        with pytest.raises(Lost) as caught:
            await transport.send(get(server.origin + "/a"), 5)
    assert not caught.value.timed_out


@pytest.mark.parametrize("endless", [b"X-A: b\r\n", b"x" * 64], ids=["lines", "one line"])
@pytest.mark.parametrize(
    "before", [b"", b"Transfer-Encoding: chunked\r\n\r\n0\r\n"], ids=["head", "trailers"]
)
async def test_an_endless_head_or_trailer_is_cut(transport, endless, before):
    async def never_done(connection):
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n" + before + b"X-A: ")
        while True:
            await connection.send(endless * 4096)

    async with raw_server(never_done) as server:
        with pytest.raises(Lost) as caught:
            await transport.send(get(server.origin + "/a"), 20)
    assert not caught.value.timed_out


async def test_a_body_at_the_cap_is_read_and_one_byte_more_is_not(transport):
    async with raw_server(always(answer(b"x" * MAX_BODY_BYTES))) as server:
        assert len((await transport.send(get(server.origin + "/a"), 10)).body) == MAX_BODY_BYTES
    async with raw_server(always(answer(b"x" * (MAX_BODY_BYTES + 1)))) as server:
        with pytest.raises(TooLarge):
            await transport.send(get(server.origin + "/a"), 10)


async def test_an_endless_body_is_cut_at_the_cap(transport):
    async def endless(connection):
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await connection.send(b"x" * 65536)

    async with raw_server(endless) as server:
        with pytest.raises(TooLarge):
            await transport.send(get(server.origin + "/a"), 10)


@pytest.fixture(scope="module")
def bombs():
    return (
        gzip.compress(bytes(100 * 1024 * 1024), 6),
        gzip.compress(bytes(7 * 1024 * 1024)) * 2,
        gzip.compress(b"") * 100_000,
    )


async def test_a_gzip_bomb_is_cut_at_the_cap(transport, bombs):
    for bomb in bombs:
        async with raw_server(always(answer(bomb, headers="Content-Encoding: gzip\r\n"))) as server:
            with pytest.raises(TooLarge):
                await transport.send(get(server.origin + "/a"), 10)


def test_a_bomb_is_known_by_its_ratio(bombs):
    body, most = begin_body("gzip"), []
    body._found = Watched(most)
    with pytest.raises(TooLarge):
        body.add(bombs[0])
    assert max(most) < 2 * 1024 * 1024


class Watched(bytearray):
    def __init__(self, sizes):
        self.sizes = sizes

    def __iadd__(self, more):
        grown = super().__iadd__(more)
        self.sizes.append(len(self))
        return grown


@pytest.mark.parametrize(
    ("head", "size", "ends"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n", 9_000_000, TooLarge),
        ("HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n", 7_000_000, Lost),
        ("HTTP/1.1 200 OK\r\nContent-Length: 7000000\r\n\r\n", 7_000_000, None),
    ],
    ids=["too large", "cut short", "whole"],
)
async def test_no_connection_keeps_an_answer(transport, head, size, ends):
    """Before Python looks for cycles, and while the connection is kept."""
    sent = head.encode() + bytes(size)

    async def answering(connection):
        while ends is None:
            await connection.request()
            await connection.send(sent)
        await connection.request()
        await connection.send(sent)

    async def asked(server):
        with pytest.raises(ends) if ends else contextlib.nullcontext():
            await transport.send(get(server.origin + "/a"), 30)

    async with raw_server(answering) as server:
        await asked(server)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(3):
                await asked(server)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    # The last answer may be on its way to whoever asked.
    assert held < (0.5 if ends else 1.5) * size


@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1, 1024 * 1024, 7_340_032])
@pytest.mark.parametrize("alike", [bytes, lambda size: b'{"id": "alike"}, ' * (size // 17)])
def test_what_is_alike_and_no_bomb_is_read_whole(size, alike):
    content = random.Random(size).randbytes(size // 200) + alike(size)
    body = begin_body("gzip")
    packed = gzip.compress(content)
    for start in range(0, len(packed), 1000):
        body.add(packed[start : start + 1000])
    assert body.whole() == content


@pytest.mark.parametrize(
    "content",
    [
        answer(gzip.compress(b"hello" * 1000)[:-20], headers="Content-Encoding: gzip\r\n"),
        answer(b"not gzip at all", headers="Content-Encoding: gzip\r\n"),
        answer(gzip.compress(b"a") + b"more", headers="Content-Encoding: gzip\r\n"),
        answer(
            gzip.compress(b"a") + gzip.compress(b"b" * 1000)[:-4],
            headers="Content-Encoding: gzip\r\n",
        ),
        answer(b"x", headers="Content-Encoding: br\r\n"),
    ],
    ids=["cut short", "garbage", "trailing data", "second member cut", "not asked for"],
)
async def test_a_damaged_compressed_body_is_lost(transport, content):
    async with raw_server(always(content)) as server:
        with pytest.raises(Lost):
            await transport.send(get(server.origin + "/a"), 5)


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        b"this is not HTTP\r\n\r\n",
    ],
    ids=["length", "chunked", "head", "nothing", "garbage"],
)
@pytest.mark.parametrize("make", [get, post])
async def test_an_incomplete_answer_is_lost_and_the_request_was_sent_once(transport, content, make):
    async def cut(connection):
        await connection.request()
        await connection.send(content)

    async with raw_server(cut) as server:
        with pytest.raises(Lost) as caught:
            await transport.send(make(server.origin + "/a"), 5)
    assert not caught.value.timed_out
    assert len(server.requests) == 1


# Connections.


@pytest.mark.parametrize(
    "make",
    [
        get,
        post,
        lambda url: HttpRequest("PUT", url, {}, b"x"),
        lambda url: HttpRequest("DELETE", url, {}),
    ],
)
async def test_a_request_on_a_connection_the_server_closes_is_never_sent_twice(transport, make):
    async def one_answer_then_reset(connection):
        await connection.request()
        await connection.send(answer())
        if await connection.request() is not None:
            connection.writer.transport.abort()

    async with raw_server(one_answer_then_reset) as server:
        await transport.send(get(server.origin + "/first"), 5)
        with pytest.raises(Lost):
            await transport.send(make(server.origin + "/second"), 5)
        await asyncio.sleep(0.05)
        assert len(server.requests) == 2


async def test_a_connection_closed_while_idle_costs_nothing_or_is_reported(transport):
    async def one_answer(connection):
        await connection.request()
        await connection.send(answer())

    async with raw_server(one_answer) as server:
        for _ in range(30):
            before = len(server.requests)
            try:
                await transport.send(post(server.origin + "/a"), 5)
            except (Lost, NotSent):
                assert len(server.requests) <= before + 1
            else:
                assert len(server.requests) == before + 1


async def test_a_refused_connection_is_not_sent(transport):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(NotSent):
            await transport.send(post(f"http://127.0.0.1:{port}/a"), 5)


async def test_an_unknown_name_is_not_sent(transport):
    with pytest.raises(NotSent):
        await transport.send(get("http://nowhere.invalid/a"), 5)


async def test_a_failed_tls_handshake_is_not_sent(transport):
    async with raw_server(always(answer())) as server:
        with pytest.raises(NotSent):
            await transport.send(post(server.origin.replace("http", "https") + "/a"), 0.5)
    assert server.requests == []


async def test_a_host_that_never_finishes_tls_is_not_sent(transport):
    async def silent(connection):
        await connection.until_closed()

    async with raw_server(silent) as server:
        with pytest.raises(NotSent):
            await transport.send(post(server.origin.replace("http", "https") + "/a"), 0.2)


@contextlib.asynccontextmanager
async def all_places_taken(transport, server):
    """Eight requests without an answer are as many as there are connections."""
    busy = [asyncio.create_task(transport.send(get(server.origin + "/a"), 20)) for _ in range(8)]
    async with asyncio.timeout(60):
        while len(server.requests) < 8:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)
    yield
    for call in busy:
        call.cancel()
    await asyncio.gather(*busy, return_exceptions=True)


async def test_waiting_for_a_connection_is_bounded_and_not_sent(transport):
    async def hang(connection):
        await connection.request()
        await connection.until_closed()

    async with raw_server(hang) as server, all_places_taken(transport, server):
        with pytest.raises(NotSent):
            await transport.send(get(server.origin + "/b"), 0.2)
    assert (len(server.requests), server.open_most) == (8, 8)


async def test_a_host_that_hangs_does_not_hold_up_another(transport):
    async def hang(connection):
        await connection.until_closed()

    async with raw_server(hang) as bad, raw_server(always(answer())) as good:
        busy = [asyncio.create_task(transport.send(get(bad.origin + "/a"), 20)) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert (await transport.send(get(good.origin + "/a"), 5)).status == 200
        for call in busy:
            call.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_connections_are_kept_and_used_again(transport):
    async with raw_server(always(answer())) as server:
        for _ in range(20):
            await transport.send(get(server.origin + "/a"), 5)
    assert (len(server.requests), server.open_most) == (20, 1)


@pytest.mark.parametrize(
    "surplus",
    [answer(b"not yours"), b"HTTP/1.1 2", b"garbage"],
    ids=["an answer", "a part", "garbage"],
)
@pytest.mark.parametrize(
    ("library", "pause_s"), [("httptools", 0), ("httptools", 0.05), ("httpx", 0.05)]
)
async def test_what_nobody_has_asked_for_is_no_answer_to_the_next_request(
    library, surplus, pause_s
):
    """Where it comes together with an answer, httpx takes it for the next one."""

    async def talkative(connection):
        while (request := await connection.request()) is not None:
            own = answer(request[:6])
            if pause_s:
                await connection.send(own)
                await asyncio.sleep(pause_s)
                await connection.send(surplus)
            else:
                await connection.send(own + surplus)

    opened = open_transport(TransportSettings(transport=library, max_connections=1))
    async with raw_server(talkative) as server:
        for number in range(3):
            assert (
                await opened.send(get(f"{server.origin}/{number}"), 5)
            ).body == f"GET /{number}".encode()
            await asyncio.sleep(2 * pause_s)
    await opened.aclose()


async def test_an_idle_connection_is_closed_when_its_time_is_over(library):
    async def until_the_end(connection):
        while await connection.request() is not None:
            await connection.send(answer())
        connection.server.seen_closed.set()

    opened = open_transport(TransportSettings(transport=library, keepalive_s=0.2))
    async with raw_server(until_the_end) as server:
        for _ in range(2):
            await opened.send(get(server.origin + "/a"), 5)
        assert server.open_most == 1
        if library == "httptools":  # httpx looks at its connections only when it is used
            await asyncio.wait_for(server.seen_closed.wait(), 60)
        else:
            await asyncio.sleep(0.3)
        await opened.send(get(server.origin + "/a"), 5)
    await opened.aclose()
    assert len(server.requests) == 3


async def test_a_request_answered_before_it_was_written_whole_leaves_no_connection_behind():
    transport = HttptoolsTransport(TransportSettings())

    async def hasty(connection):
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(answer(b"too long", "413 Too Large"))
        await connection.until_closed()

    async with raw_server(hasty) as server:
        assert (
            await transport.send(post(server.origin + "/a", bytes(30_000_000)), 5)
        ).status == 413
        await asyncio.wait_for(server.seen_closed.wait(), 60)


# Time and cancellation.


@pytest.mark.parametrize("part", ["head", "body"])
async def test_a_slow_drip_ends_with_the_time(transport, part):
    async def drip(connection):
        await connection.request()
        await connection.send(
            b"HTTP/1.1 200 OK\r\n"
            + (b"X-A: " if part == "head" else b"Content-Length: 9000\r\n\r\n")
        )
        await connection.drip(b"x", 0.02)

    async with raw_server(drip) as server:
        with pytest.raises(Lost) as caught:
            await transport.send(get(server.origin + "/a"), 0.3)
    assert caught.value.timed_out


async def test_each_request_on_a_kept_connection_has_its_own_time(transport):
    async def slower_and_slower(connection):
        for pause_s in (0, 1, 20):
            await connection.request()
            await asyncio.sleep(pause_s)
            await connection.send(answer())

    async with raw_server(slower_and_slower) as server:
        await transport.send(get(server.origin + "/quick"), 0.8)
        await transport.send(get(server.origin + "/slow"), 10)
        with pytest.raises(Lost) as caught:
            await transport.send(get(server.origin + "/never"), 0.2)
    assert caught.value.timed_out
    assert caught.value.given_s < 5
    assert server.open_most == 1


@pytest.mark.parametrize(
    "begin",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"],
    ids=["no answer", "half a body"],
)
async def test_a_cancelled_read_is_gone_before_its_time(transport, begin):
    async def hang(connection):
        await connection.request()
        await connection.send(begin)
        await connection.until_closed()

    async with raw_server(hang) as server:
        call = asyncio.create_task(transport.send(get(server.origin + "/a"), 20))
        await server.arrived.wait()
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.seen_closed.wait(), 60)


async def test_a_storm_of_cancellations_loses_no_connection(transport):
    together = asyncio.Barrier(8)
    calm = False

    async def slow(connection):
        while await connection.request() is not None:
            if calm:
                await together.wait()
            await asyncio.sleep(random.random() * 0.004)
            await connection.send(
                answer(b"x" * 100, headers="Connection: close\r\n" if random.random() < 0.3 else "")
            )

    async def impatient(url):
        try:
            async with asyncio.timeout(random.random() * 0.02 if random.random() < 0.95 else 2):
                return (await transport.send(get(url), 5)).status
        except (TimeoutError, Lost, NotSent):
            return 0

    random.seed(7)
    async with raw_server(slow) as server:
        results = []
        for _ in range(15):
            results += await asyncio.gather(*(impatient(server.origin + "/a") for _ in range(40)))
        assert {0, 200} == set(results)
        await asyncio.sleep(0.1)
        calm = True  # from now on the server answers only when all eight places are in use at once
        answers = await asyncio.gather(
            *(transport.send(get(server.origin + "/after"), 10) for _ in range(8))
        )
        assert [response.status for response in answers] == [200] * 8
        assert server.open_now <= 8


@pytest.mark.parametrize("full", [False, True], ids=["free places", "no free place"])
async def test_cancelled_at_any_moment_a_call_leaves_no_place_taken_and_nothing_open(library, full):
    gather = asyncio.Barrier(2)

    async def paired(connection):
        while (request := await connection.request()) is not None:
            if b"/pair" in request:
                await gather.wait()
            await connection.send(answer())

    opened = open_transport(TransportSettings(transport=library, max_connections=2))
    async with raw_server(paired) as server:
        busy = (
            [asyncio.create_task(opened.send(get(server.origin + "/pair"), 20)) for _ in range(2)]
            if full
            else []
        )
        await cancelled_everywhere(lambda: opened.send(get(server.origin + "/a"), 20))
        await asyncio.gather(*busy)
        for _ in range(3):
            both = await asyncio.gather(
                *(opened.send(get(server.origin + "/pair"), 20) for _ in range(2))
            )
            assert [each.status for each in both] == [200, 200]
        await opened.aclose()
        await all_closed(server)


async def test_a_caller_that_leaves_while_connecting_sends_nothing(transport):
    async with raw_server(always(answer())) as server:
        for delay in (0, 0, 1, 2, 3):
            call = asyncio.create_task(transport.send(post(server.origin + "/a"), 5))
            for _ in range(delay):
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await asyncio.sleep(0.1)
        assert server.requests == []
        assert (await transport.send(post(server.origin + "/a"), 5)).status == 200


# What may be written, and who is to blame.


async def test_the_question_before_the_first_byte_is_asked_once_and_a_no_sends_nothing(transport):
    asked = []

    def yes():
        asked.append(len(server.requests))
        return True

    def no():
        return not yes()

    async with raw_server(always(answer())) as server:
        for _ in range(2):  # on a new connection, and on a kept one
            with pytest.raises(NotSent) as caught:
                await transport.send(post(server.origin + "/a"), 5, no)
            assert not caught.value.blames_host(5)
            assert (await transport.send(post(server.origin + "/a"), 5, yes)).status == 200
        await asyncio.sleep(0.05)
    assert asked == [0, 0, 1, 1]
    assert len(server.requests) == 2


async def test_the_question_is_not_asked_before_there_is_a_connection(transport):
    async def silent(connection):
        await connection.until_closed()

    asked = []
    async with raw_server(silent) as server:
        with pytest.raises(NotSent):
            await transport.send(
                post(server.origin.replace("http", "https") + "/a"),
                0.2,
                lambda: bool(asked.append(1)),
            )
    assert asked == []


async def test_our_own_full_pool_is_not_the_hosts_fault(transport):
    async def hang(connection):
        await connection.request()
        await connection.until_closed()

    async with raw_server(hang) as server:
        async with all_places_taken(transport, server):
            with pytest.raises(NotSent) as waited:
                await transport.send(get(server.origin + "/b"), 0.3)
        with pytest.raises(Lost) as late:
            await transport.send(get(server.origin + "/c"), 1)
    assert not waited.value.blames_host(0.3)
    assert late.value.blames_host(1)
    assert not late.value.blames_host(20), "a hurried caller says little of the host"


async def test_the_wait_for_a_connection_is_not_counted_as_the_hosts_silence(transport):
    free = asyncio.Event()

    async def slow_then_silent(connection):
        await connection.request()
        await free.wait()
        await connection.send(answer())
        await connection.until_closed()

    async with raw_server(slow_then_silent) as server, all_places_taken(transport, server):
        waiting = asyncio.create_task(transport.send(get(server.origin + "/b"), 1))
        await asyncio.sleep(0.5)
        free.set()
        with pytest.raises(Lost) as late:
            await waiting
    assert late.value.timed_out
    assert not late.value.blames_host(1)


async def test_a_host_that_refuses_or_breaks_is_to_blame(transport):
    async def cut(connection):
        await connection.request()

    async with raw_server(cut) as server:
        with pytest.raises(Lost) as lost:
            await transport.send(get(server.origin + "/a"), 5)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(NotSent) as refused:
            await transport.send(get(f"http://127.0.0.1:{closed.getsockname()[1]}/a"), 5)
    assert lost.value.blames_host(5)
    assert refused.value.blames_host(5)


def test_what_is_printed_holds_no_secret():
    request = HttpRequest("POST", "https://h/a", {"X-Auth-Token": "s3cret"}, b"s3cret")
    shown = (
        request,
        HttpResponse(201, {"x-subject-token": "s3cret"}, b"s3cret"),
        Applied(request, 1),
        AccessKey("s3cret", Secret("s3cret")),
    )
    assert "s3cret" not in repr(shown)


async def test_closing_gives_up_what_is_in_flight(library):
    async def hang(connection):
        await connection.request()
        await connection.until_closed()

    opened = open_transport(TransportSettings(transport=library))
    async with raw_server(hang) as server:
        call = asyncio.create_task(opened.send(get(server.origin + "/a"), 5))
        await server.arrived.wait()
        await opened.aclose()
        with pytest.raises((Lost, asyncio.CancelledError)):
            await call
        await asyncio.wait_for(server.seen_closed.wait(), 60)


async def test_closing_at_any_moment_ends_every_call_and_leaves_nothing_open(certificate):
    async with raw_server(always(answer())) as server:
        for turns in range(15):
            opened = open_transport(
                TransportSettings(transport="httptools", max_connections=2, ca_file=certificate)
            )
            calls = [
                asyncio.create_task(opened.send(get(server.origin + "/a"), 300)) for _ in range(4)
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            await opened.aclose()
            async with asyncio.timeout(60):
                ends = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(end) for end in ends} <= {HttpResponse, Lost, NotSent}
        await all_closed(server)
