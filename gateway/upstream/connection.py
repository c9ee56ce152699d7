"""One connection of the fast transport: an asyncio protocol around llhttp's parser, which carries
one request at a time.

The event loop hands bytes to `data_received`, which feeds the parser; the parser calls the `on_...`
methods below it; the last of them puts the answer into the future that `ask` waits for. A single
timer serves the whole connection: it is set anew only when it has to ring earlier, and one that
rings too early is set to the moment that counts by then.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.upstream.body import Body, begin_body
from gateway.upstream.http import FIRST_ERROR, HttpResponse, Lost, TooLarge

_MAX_HEAD_BYTES: Final = 100 * 1024
"""IAM tokens come in a header, and are long."""
_MAX_FRAMED: Final = 8
"""The bytes that may frame one of the body, the head apart: a chunk of one byte has five."""
_FINAL: Final = 200
"""Answers with a lower status announce the answer itself."""
_CLOCK_STEP_S: Final = 0.001
"""The resolution of uvloop's clock."""


class Connection(asyncio.Protocol):
    """See the module.

    `usable`: whether another request may be sent, once the last one is answered. `on_closed` is
    told once that it is gone.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_closed: Callable[["Connection"], None]
    ) -> None:
        self._loop = loop
        self._on_closed = on_closed
        self._parser = HttpResponseParser(self)
        # Strict but for two old habits of servers, which httpx reads, too.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[HttpResponse] | None = None
        self._began = 0.0
        self._status = 0
        self._received = 0
        self._carried = 0
        """Of that, bytes of the body."""
        self._headers: dict[str, str] = {}
        self._body: Body | None = None
        """From the end of the head on."""
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._due_at = 0.0
        self.usable = True

    async def ask(self, request: bytes, began: float, ends_at: float) -> HttpResponse:
        """Writes the request and waits for its answer.

        Raises Lost, and closes the connection whenever no answer came.

        Times are the loop's. `began`: since when the host is at work on it.
        """
        answer: asyncio.Future[HttpResponse] = self._loop.create_future()
        self._answer = answer
        self._began, self._body = began, None
        self._received = self._carried = 0
        self._ring_by(ends_at)
        self._transport.write(request)
        try:
            return await answer
        except BaseException:
            self.close()
            raise

    def rest(self, until: float) -> None:
        """Keeps the connection for the next request, at most until then."""
        self._answer = None
        self._ring_by(until)

    def close(self) -> None:
        """Drops what was not written yet, and what has come of an answer: the parser refers to the
        connection, so both are there until Python looks for cycles.
        """
        self.usable, self._body = False, None
        self._transport.abort()

    def fail(self, error: Lost) -> None:
        """Gives up the request under way, if there is one, and closes."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    # Called by the event loop
    # ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            # Nobody has asked for this, and the next answer might be taken for that of another
            # request.
            self.close()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._broken(error)
        else:
            if self._received - self._carried > _MAX_HEAD_BYTES + _MAX_FRAMED * self._carried:
                self.fail(Lost("the answer's head or trailers are too long"))

    def _broken(self, error: Exception) -> None:
        ours = error.__context__
        if isinstance(ours, TooLarge) and self._status >= FIRST_ERROR:
            assert self._answer is not None
            self._answer.set_result(HttpResponse(self._status, self._headers, b""))
            self.close()
        elif isinstance(ours, Lost):
            self.fail(ours)
        else:
            self.fail(Lost(f"no complete answer came ({type(error).__name__})"))

    def eof_received(self) -> None:
        """The transport closes itself after this."""
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        if self._timer is not None:
            self._timer.cancel()
        self._on_closed(self)

    def _ended(self, error: Exception | None) -> None:
        self.usable = False
        if self._answer is None or self._answer.done():
            return
        if error is None and self._lasts_until_the_end():
            try:
                self._finish()
            except Lost as damaged:
                self.fail(damaged)
            return
        self.fail(
            Lost(
                "no complete answer came"
                f" ({'the connection was closed' if error is None else type(error).__name__})"
            )
        )

    # Called by the parser
    # ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers = {}
        if self._answer is None or self._answer.done():
            # The bytes of a second answer in the same piece.
            self.usable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._body is None:  # later ones are trailers
            self._headers[name.lower().decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= _FINAL and self.usable:
            self._body = begin_body(self._headers.get("content-encoding", ""))

    def on_body(self, piece: bytes) -> None:
        if self._body is not None:
            self._carried += len(piece)
            self._body.add(piece)

    def on_message_complete(self) -> None:
        if self._status >= _FINAL and self.usable:
            # Of a request that was answered before all of it was written, nobody knows where the
            # next one would begin.
            self.usable = (
                self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()
            )
            self._finish()

    # The answer and its time
    # ----------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        body, self._body = self._body, None
        assert self._answer is not None
        assert body is not None
        self._answer.set_result(HttpResponse(self._status, self._headers, body.whole()))

    def _lasts_until_the_end(self) -> bool:
        """Whether the body under way is ended by the end of the connection, since nothing else
        tells where it ends.
        """
        coding = self._headers.get("transfer-encoding")
        if coding is not None:
            return self._body is not None and not coding.lower().endswith("chunked")
        return self._body is not None and "content-length" not in self._headers

    def _ring_by(self, moment: float) -> None:
        self._due_at = moment
        if self._timer is None or moment < self._rings_at:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._due_at
        self._timer = self._loop.call_at(self._due_at, self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        if now + _CLOCK_STEP_S < self._due_at:
            self._set_timer()
        else:
            self.fail(Lost("no complete answer came (time ran out)", given_s=now - self._began))
