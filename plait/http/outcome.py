"""What an answer or a failure means: which error it is, and whether the effect may have happened."""

from typing import Final, NoReturn, TypeVar

import httpx

from plait.http.answer import request_id
from plait.http.errors import (
    AuthenticationFailed,
    Conflict,
    DeadlineExceeded,
    MalformedResponse,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PermissionDenied,
    PlaitError,
    RateLimited,
    RequestRejected,
    ServerFailed,
    StreamTruncated,
    ValidationFailed,
)
from plait.http.exchange import Exchange
from plait.http.retry import CONNECT_FAILURES, RateDialect, read_rate
from plait.http.words import Redactor, Words, clean, read_words

E = TypeVar("E", bound=PlaitError)

REFUSAL_LIMIT: Final = 1024 * 1024
"""Bytes of a refusal that are read."""

_REJECTED: Final[dict[int, type[RequestRejected]]] = {
    400: ValidationFailed,
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    413: ValidationFailed,
    415: ValidationFailed,
    422: ValidationFailed,
    429: RateLimited,
}
_TIMED_OUT: Final = 408
"""A proxy may say so after it passed the request on: on a guarded effect no refusal."""


class SlashRedirect(RequestRejected):
    """The same address is spelt with or without a last slash; nothing was done. `target` is the other."""

    target: httpx.URL


class Translator:
    """Turns what one vendor's answers and broken connections mean into errors without secrets."""

    def __init__(self, redact: Redactor, dialect: RateDialect) -> None:
        self._redact = redact
        self._dialect = dialect

    async def refusal(
        self, exchange: Exchange, response: httpx.Response, target: httpx.URL | None
    ) -> PlaitError:
        """Read an answer that is no success; `target` is where a slash redirect leads."""
        words = await self._words(exchange, response)
        if target is not None:
            moved = self._error(SlashRedirect, exchange, f"ask for {target.path} instead", words)
            moved.target = target
            return moved
        kind = self._kind(exchange, response.status_code)
        message = self._redirected(exchange, response) if response.is_redirect else words.message
        error = self._error(kind, exchange, message, words)
        error.retry_after = read_rate(response.status_code, response.headers, self._dialect).wait
        if isinstance(error, OutcomeUnknown):
            error.answered = exchange.complete
        return error

    async def unexpected(self, exchange: Exchange, response: httpx.Response) -> PlaitError:
        """Read a 2xx answer that is neither a stream of events nor JSON."""
        words = await self._words(exchange, response)
        media_type = clean(response.headers.get("content-type", ""), 80) or "an untyped answer"
        message = f"a stream of events was expected, not {media_type}: {words.message}"
        if not exchange.operation.effect.guarded:
            return self._error(MalformedResponse, exchange, message, words)
        unknown = self._error(OutcomeUnknown, exchange, message, words)
        unknown.answered = exchange.complete
        return unknown

    @staticmethod
    def _kind(exchange: Exchange, status: int) -> type[PlaitError]:
        guarded = exchange.operation.effect.guarded
        if httpx.codes.is_client_error(status) and not (guarded and status == _TIMED_OUT):
            return _REJECTED.get(status, RequestRejected)
        if guarded:
            return OutcomeUnknown
        return ServerFailed if httpx.codes.is_server_error(status) else MalformedResponse

    async def _words(self, exchange: Exchange, response: httpx.Response) -> Words:
        body = bytearray()
        try:
            async for chunk in exchange.chunks():
                body += chunk
                if len(body) > REFUSAL_LIMIT:
                    break
        except (httpx.TransportError, httpx.DecodingError):
            # The status line of a 4xx says enough; of anything else only a whole answer does.
            if not httpx.codes.is_client_error(response.status_code):
                raise
        return read_words(response.status_code, bytes(body[:REFUSAL_LIMIT]), self._redact)

    def _redirected(self, exchange: Exchange, response: httpx.Response) -> str:
        try:
            where = exchange.url.join(response.headers.get("location", ""))
        except httpx.InvalidURL:
            return "the answer is a redirect to nowhere"
        place = clean(f"{where.scheme}://{where.netloc.decode('ascii')}{where.path}", 200)
        return (
            f"the answer is a redirect to {self._redact(place)}, which is not followed: "
            "credentials stay with their own address; check the base URL"
        )

    def failure(self, exchange: Exchange, cause: BaseException) -> BaseException:
        """What a broken exchange means. Gives `cause` itself where it already says it."""
        if not isinstance(cause, Exception):
            return cause
        if exchange.operation.effect.guarded:
            return self._of_effect(exchange, cause)
        return self._of_read(exchange, cause)

    def _of_read(self, exchange: Exchange, cause: Exception) -> Exception:
        if isinstance(cause, CONNECT_FAILURES):
            return self._error(NotSent, exchange, self._unreached(exchange, cause))
        if isinstance(cause, httpx.TransportError):
            return self._error(ServerFailed, exchange, f"the connection broke: {self._cause(cause)}")
        if isinstance(cause, httpx.DecodingError):
            return self._error(MalformedResponse, exchange, "the answer's compression is damaged")
        if isinstance(cause, TimeoutError):
            late = self._error(DeadlineExceeded, exchange, self._cause(cause, exchange))
            late.retryable = True  # a read may simply be asked again
            return late
        return self._named(exchange, cause)

    def _of_effect(self, exchange: Exchange, cause: Exception) -> Exception:
        if isinstance(cause, OutcomeUnknown | StreamTruncated):
            return self._named(exchange, cause)
        if exchange.left:
            text = f"the request left and its outcome is not known: {self._cause(cause, exchange)}"
            unknown = self._error(OutcomeUnknown, exchange, text)
            unknown.answered = exchange.complete
            return unknown
        if isinstance(cause, httpx.HTTPError | TimeoutError):
            return self._error(NotSent, exchange, self._unreached(exchange, cause))
        return self._named(exchange, cause)

    def torn(self, exchange: Exchange, cause: Exception) -> BaseException:
        """What the end of a stream before its time means."""
        late = isinstance(cause, httpx.TimeoutException)
        if late and not exchange.operation.effect.guarded:
            return self._error(DeadlineExceeded, exchange, self._cause(cause, exchange))
        if isinstance(cause, httpx.TransportError | httpx.DecodingError) and not late:
            return self._error(StreamTruncated, exchange, f"the stream broke off: {self._cause(cause)}")
        return self.failure(exchange, cause)

    def _error(self, kind: type[E], exchange: Exchange, message: str, words: Words | None = None) -> E:
        response = exchange.response
        return kind(
            self._redact(message),
            system=exchange.operation.system,
            operation=exchange.operation.name,
            status=None if response is None else response.status_code,
            request_id=None if response is None else request_id(response.headers),
            code=None if words is None else words.code,
            details=None if words is None else words.details,
        )

    @staticmethod
    def _named(exchange: Exchange, error: Exception) -> Exception:
        """`error`, told which operation it happened to."""
        if isinstance(error, PlaitError):
            error.system = error.system or exchange.operation.system
            error.operation = error.operation or exchange.operation.name
        return error

    def _unreached(self, exchange: Exchange, cause: Exception) -> str:
        server = f"{exchange.url.scheme}://{exchange.url.netloc.decode('ascii')}"
        remedy = "check the address, and that the server runs"
        return f"nothing was sent to {server}: {self._cause(cause, exchange)}; {remedy}"

    def _cause(self, cause: Exception, exchange: Exchange | None = None) -> str:
        if exchange is not None and type(cause) is TimeoutError:
            return f"no complete answer within {exchange.operation.deadline:g} s"
        if exchange is not None and isinstance(cause, httpx.ReadTimeout):
            return f"the vendor was silent for {exchange.operation.timeouts.read:g} s"
        return clean(self._redact(f"{type(cause).__name__} {cause}".strip()), 300)


def raise_from(told: BaseException, cause: BaseException) -> NoReturn:
    """Raise `told` because of `cause`; the two may be one."""
    if told is cause:
        raise cause
    raise told from cause
