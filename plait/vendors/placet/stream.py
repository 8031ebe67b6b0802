"""A message that grows while it is written (placet.md §5.1).

The server keeps no order: whatever arrives last is shown. So one update is on its way at a time,
one whose answer was lost counts as on its way until its text is seen or it can land no more, and an
update never shows a text that people had already seen more of.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from plait.clock import BootClock, Clock
from plait.http.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotSent,
    OutcomeUnknown,
    PlaitError,
    RateLimited,
    RequestRejected,
    ServerFailed,
)
from plait.vendors.placet import operations
from plait.vendors.placet.client import PlacetClient
from plait.vendors.placet.models import Message, MessageContent, StreamState

PACE: Final = 1.0
"""Seconds between updates: one route takes 100 calls a minute, shared by all drafts (placet.md §5.1)."""
PATIENCE: Final = 60.0
"""Seconds in which the last update of a draft is tried."""
FAREWELL: Final = 10.0
"""The same for a draft that is aborted, over and above the update that is still on its way."""
_LOOK: Final = 0.5
_STEP: Final = 0.2
_GATEWAY: Final = frozenset({502, 503, 504})
_PASSING: Final = (NotSent, ServerFailed, OutcomeUnknown, DeadlineExceeded, RateLimited)


class DraftMessage:
    """A draft being written; made by `stream_message`."""

    def __init__(self, client: PlacetClient, message: Message, *, pace: float, clock: Clock) -> None:
        self._client = client
        self._channel_id = message.channel_id
        self._stream_id = message.stream_id or ""
        self._pace = pace
        self._clock = clock
        self._wake = asyncio.Event()
        self._closing = False
        self._next = clock.now() + pace
        self._shown = message.text or ""
        self._state = message.stream_state
        self._text = ""
        self.message = message
        """The stored message as the server gave it last."""

    @property
    def text(self) -> str:
        """All that was written so far."""
        return self._text

    def write(self, more: str) -> None:
        """Add text; people see it with the next update, at most `pace` seconds later."""
        self._text += more
        self._wake.set()

    async def pump(self) -> None:
        """Show what is written until `close`. A passing failure leaves it to the next update."""
        while await self._due():
            if not self._adds_to_shown():
                continue
            try:
                await self._update(self._text)
            except _PASSING as error:
                self._next = self._clock.now() + max(self._pace, error.retry_after or 0.0)
                self._wake.set()
            except PlaitError:
                return  # refused: `close` will meet the same refusal, and raise it

    async def _due(self) -> bool:
        """Wait for new text and for its turn; False once the draft is to be closed."""
        await self._wake.wait()
        while not self._closing and (wait := self._next - self._clock.now()) > 0:
            await self._clock.sleep(min(wait, _STEP))
        self._wake.clear()
        return not self._closing

    async def close(self, pumping: "asyncio.Task[None]", state: StreamState, patience: float) -> None:
        """Let the update that is on its way arrive, show the last text and close the draft.

        Raises what stood in the way for `patience` seconds.
        """
        self._closing = True
        self._wake.set()
        await asyncio.wait([pumping])
        text = self._text if state == "complete" or self._adds_to_shown() else self._shown
        end = self._clock.now() + patience
        while not (self._state == state and self._shown == text):
            try:
                await self._update(text, state=state)
            except _PASSING as error:
                pause = max(self._pace, error.retry_after or 0.0)
                if self._clock.now() + pause > end:
                    raise
                await self._clock.sleep(pause)
            else:
                return

    def _adds_to_shown(self) -> bool:
        """Whether people would see more than before: a repeated run starts over behind what they saw."""
        return len(self._text) >= len(self._shown) and self._text != self._shown

    async def _update(self, text: str, state: StreamState | None = None) -> None:
        self._next = self._clock.now() + self._pace
        complete = state == "complete"
        try:
            message = await self._client.update_stream(
                self._channel_id,
                self._stream_id,
                text,
                complete=complete,
                state=None if complete else state,
            )
        except PlaitError as error:
            if _is_over(error):
                raise
            await self._settle(text, state, error)
        else:
            self._take(message)

    async def _settle(self, text: str, state: StreamState | None, error: PlaitError) -> None:
        """Wait until the lost update is seen, or cannot land any more; then raise `error`."""
        end = self._clock.now() + operations.UPDATE_STREAM.landing
        while self._clock.now() < end:
            await self._clock.sleep(min(_LOOK, end - self._clock.now()))
            message = await self._look()
            if message is not None and message.text == text and state in {None, message.stream_state}:
                self._take(message)
                return
        raise error

    async def _look(self) -> Message | None:
        try:
            return await self._client.get_message(self._channel_id, self.message.id)
        except _PASSING:
            return None

    def _take(self, message: Message) -> None:
        self.message = message
        self._shown = message.text or ""
        self._state = message.stream_state


@asynccontextmanager
async def stream_message(
    client: PlacetClient,
    channel_id: str,
    stream_id: str,
    opening: str,
    *,
    pace: float = PACE,
    clock: Clock | None = None,
) -> AsyncIterator[DraftMessage]:
    """Write a message piece by piece; inside the `async with`, `draft.write(more)` adds to it.

    Leaving normally completes the draft; leaving by an error or a cancellation marks it aborted and
    keeps what was shown. A process that dies is cleaned up by the server after 5 minutes of silence.
    A repeated run with the same `stream_id` takes the draft up again, and shows nothing until it has
    written at least as much as people saw before.

    Args:
        client: what it is sent with.
        channel_id: where it is shown.
        stream_id: one for each message, unique in the whole server (placet.md §5.1).
        opening: the first words; the draft begins with them.
        pace: seconds between two updates.
        clock: for waiting.
    """
    if not opening.strip():
        raise InvalidInput("a draft starts with some text; give its first words")
    clock = clock or BootClock()
    message = await _open(client, channel_id, stream_id, opening, clock)
    draft = DraftMessage(client, message, pace=pace, clock=clock)
    draft.write(opening)
    pumping = asyncio.create_task(draft.pump())
    try:
        yield draft
    except BaseException as error:
        try:
            await _to_its_end(draft.close(pumping, "aborted", FAREWELL))
        except PlaitError as trouble:
            error.add_note(f"the draft could not be marked aborted: {trouble}")
        raise
    await _to_its_end(draft.close(pumping, "complete", PATIENCE))


async def _open(client: PlacetClient, channel_id: str, stream_id: str, opening: str, clock: Clock) -> Message:
    """Start or find the draft: the same POST twice is one (placet.md §5.1)."""
    end = clock.now() + PATIENCE
    content = MessageContent(text=opening)
    while True:
        try:
            return await client.post_message(channel_id, content, key=stream_id, stream_state="streaming")
        except _PASSING as error:
            pause = max(_LOOK, error.retry_after or 0.0)
            if clock.now() + pause > end:
                raise
            await clock.sleep(pause)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it whole, cancelled or not; a cancellation is passed on afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # seen, and less than the cancellation
        raise cancelled
    task.result()


def _is_over(error: PlaitError) -> bool:
    """Whether the server has finished with the failed update, so that it cannot land any more."""
    if isinstance(error, NotSent | RequestRejected):
        return True
    return isinstance(error, ServerFailed) and error.status is not None and error.status not in _GATEWAY
