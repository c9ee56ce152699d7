"""What one attempt proves, and what may follow from it.

Pure; the rules of a retry are here and nowhere else.

    NEVER_SENT   zero bytes of the request were written
    REFUSED      CBR or its API gateway turned the call away before doing anything
    AMBIGUOUS    the request was or may have been written, and nobody knows what came of it
    DEFINITE     CBR answered: done, or not done for a reason

For a read, where nothing is at stake, any 401 counts as REFUSED and any other 4xx as DEFINITE; for
a change only what bears the cloud's own mark.

| class    | NEVER_SENT | REFUSED     | AMBIGUOUS                                   | DEFINITE |
|----------|------------|-------------|---------------------------------------------|----------|
| READ     | repeat     | repeat      | repeat                                      | end      |
| DELETE   | repeat     | repeat      | repeat; then "not found" means that it was done | end  |
| CONVERGE | repeat     | repeat      | read back; repeat only if the change is absent | end   |
| CREATE   | repeat     | repeat      | end: the outcome is unknown                 | end      |
| NEVER    | repeat     | repeat once | end: the outcome is unknown                 | end      |
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import msgspec
from google.protobuf.message import Message

from gateway.connect_failure import ConnectFailure
from gateway.upstream import tolerant_json
from gateway.upstream.declaration import RetryClass
from gateway.upstream.error_in_success import error_document, order_error, shows_success
from gateway.upstream.http import HttpResponse
from gateway.upstream.orders import order_ids
from gateway.upstream.strict_json import NotJson
from gateway.upstream.upstream_error import CLIENT_ERROR, UpstreamError, presentable, read_error
from gateway.upstream.values import Json

SUCCESS: Final = range(200, 300)


class Outcome(Enum):
    NEVER_SENT = auto()
    REFUSED = auto()
    AMBIGUOUS = auto()
    DEFINITE = auto()


class Next(Enum):
    END = auto()
    REPEAT = auto()
    READ_BACK = auto()
    UNKNOWN = auto()


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt, judged.

    Without an answer both `value` and `error` are None. `value` is the JSON of a success, `{}` for
    an empty body.
    """

    outcome: Outcome
    value: Json = None
    message: Message | None = None
    """The response, where it was read without making `value` of the body."""
    body: bytes = b""
    error: UpstreamError | None = None
    request_id: str = ""
    retry_after_s: float | None = None
    status: int | None = None
    problem: str = ""
    """Why an answer that is no error cannot be read."""
    timed_out: bool = False
    order_ids: tuple[str, ...] = ()
    """Orders that the answer names, whether it can be read or not, and refuses them or not."""
    connect: ConnectFailure | None = None
    """Why there was no connection, where that is what failed."""
    no_place: bool = False
    """The tenant's other calls have all connections that it may have."""

    def answer(self) -> Json:
        """The JSON of a success."""
        if self.message is None:
            return self.value
        return tolerant_json.loads(self.body, last_counts=True)

    @property
    def throttled(self) -> bool:
        return self.error is not None and self.error.throttled

    @property
    def credentials(self) -> bool:
        return self.outcome is Outcome.REFUSED and self.error is not None and self.error.credentials


def nothing_fast(_body: bytes) -> Message | None:
    """Every answer is looked at."""
    return None


def judge(
    response: HttpResponse,
    *,
    reads: bool,
    fast: Callable[[bytes], Message | None] = nothing_fast,
) -> Attempt:
    """What a complete answer proves, to a read or to a change.

    `fast`: the response in the body of a success; None: it needs a look.
    """
    status = response.status
    if status not in SUCCESS:
        return _judged_error(response, reads=reads)
    if (message := fast(response.body)) is not None:
        return Attempt(
            Outcome.DEFINITE,
            message=message,
            body=response.body,
            request_id=presentable(response.headers.get("x-request-id", "")),
            status=status,
        )
    return _judged_success(response, reads=reads)


def _judged_error(response: HttpResponse, *, reads: bool) -> Attempt:
    error = read_error(response.status, response.body)
    return Attempt(
        _outcome_of(error, reads=reads),
        error=error,
        request_id=_request_id(response),
        retry_after_s=_seconds(response.headers.get("retry-after")),
        status=response.status,
    )


def _judged_success(response: HttpResponse, *, reads: bool) -> Attempt:
    """By its JSON, which may say something else than its status."""
    request_id, status = _request_id(response), response.status
    try:
        empty = not response.body.strip()
        value = {} if empty else tolerant_json.loads(response.body, last_counts=reads)
    except NotJson as problem:
        return Attempt(
            Outcome.AMBIGUOUS, request_id=request_id, status=status, problem=str(problem)
        )
    orders = tuple(filter(None, map(presentable, order_ids(value))))
    refusal = order_error(value, status)
    found = refusal or error_document(value, status)
    if found is not None:
        # Beside what was made an error is a contradiction, which proves neither.
        certain = reads or ((refusal is not None or found.is_own) and not shows_success(value))
        return Attempt(
            Outcome.DEFINITE if certain else Outcome.AMBIGUOUS,
            error=found,
            request_id=request_id,
            status=status,
            order_ids=orders,
        )
    # Nothing, in whatever form: whether that is enough, the declaration of the response says.
    plain = {} if value in (None, "") else value
    return Attempt(
        Outcome.DEFINITE, value=plain, request_id=request_id, status=status, order_ids=orders
    )


def _request_id(response: HttpResponse) -> str:
    return presentable(response.headers.get("x-request-id", ""))


def _outcome_of(error: UpstreamError, *, reads: bool) -> Outcome:
    proven = error.proves_nothing_done or (reads and error.status in CLIENT_ERROR)
    if error.throttled or (error.credentials and proven):
        return Outcome.REFUSED
    return Outcome.DEFINITE if proven else Outcome.AMBIGUOUS


def _seconds(text: str | None) -> float | None:
    """Retry-After in whole seconds; a date, which CBR has not been seen to send, is ignored."""
    return (
        float(text)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 6  # noqa: PLR2004
        else None
    )


def what_next(retry_class: RetryClass, outcome: Outcome, refusals: int) -> Next:
    """What may follow an attempt, time and budget permitting.

    `refusals`: how often this call was refused, this attempt included.
    """
    if outcome is Outcome.DEFINITE:
        return Next.END
    if outcome is Outcome.NEVER_SENT:
        return Next.REPEAT
    if outcome is Outcome.REFUSED:
        return Next.END if retry_class is RetryClass.NEVER and refusals > 1 else Next.REPEAT
    if retry_class in {RetryClass.READ, RetryClass.DELETE}:
        return Next.REPEAT
    return Next.READ_BACK if retry_class is RetryClass.CONVERGE else Next.UNKNOWN
