"""A vendor in fifty lines: it counts accepted effects and can be told how to fail."""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from plait.http import Transport
from plait.http.errors import PlaitError
from plait.http.operation import Effect, Operation, Source
from plait.ledger import Absent, Found, Identity, Look, NotYetKnown, Several, Timing, Verdict

QUICK = Timing(lease=3.0, step=0.05, landing_cap=0.1, visibility_cap=0.05, patience=5.0, record_patience=5.0)


def operation(effect: Effect, **options: Any) -> Operation:
    """The toy's one effect, of any class."""
    return Operation(
        system="toy",
        name=f"make_{effect}",
        method="POST",
        path="/things",
        effect=effect,
        source=Source.ASSUMED,
        reference="toy",
        deadline=10.0,
        recovery="look",
        **options,
    )


LIST = Operation(
    system="toy",
    name="list_things",
    method="GET",
    path="/things",
    effect=Effect.READ,
    source=Source.ASSUMED,
    reference="toy",
)


class Thing(BaseModel):
    """What the vendor makes."""

    id: str
    name: str
    key: str | None = None


@dataclass
class Vendor:
    """Listens on loopback. `script` holds one behaviour per POST; the rest succeed.

    ok, drop_before, drop_after, 400, 409, 429, 500_before, 500_after, 524_late, hang_before, hang_after, late
    """

    script: deque[str] = field(default_factory=deque)
    honours_keys: bool = False
    things: list[Thing] = field(default_factory=list)
    posts: int = 0
    looks_fail: bool = False
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (int(x[15:]) for x in head.split("\r\n") if x.lower().startswith("content-length:")), 0
                )
                body = json.loads(await reader.readexactly(length) or b"{}")
                if head.startswith("GET"):
                    await self._answer(
                        writer, 503 if self.looks_fail else 200, [x.model_dump() for x in self.things]
                    )
                elif not await self._post(writer, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _post(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        self.posts += 1
        what = self.script.popleft() if self.script else "ok"
        if what[3:] == "_late":  # a proxy gives up, the vendor does not
            asyncio.get_running_loop().call_later(0.3, self._make, body)
        if what.startswith("4") or what == "500_before" or what[3:] == "_late":
            await self._answer(writer, int(what[:3]), {"detail": what})
            return True
        if what == "drop_before":
            return False
        if what == "hang_before":
            await self.hold.wait()
            return False
        if what == "late":
            asyncio.get_running_loop().call_later(0.05, self._make, body)
            return False
        made = self._make(body)
        if what == "drop_after":
            return False
        if what == "hang_after":
            await self.hold.wait()
        await self._answer(writer, 500 if what == "500_after" else 201, made.model_dump())
        return True

    def _make(self, body: dict[str, Any]) -> Thing:
        known = next(
            (x for x in self.things if self.honours_keys and body["key"] and x.key == body["key"]), None
        )
        if known is not None:
            return known
        made = Thing(id=f"t{len(self.things) + 1}", name=body["name"], key=body["key"])
        self.things.append(made)
        return made

    async def _answer(self, writer: asyncio.StreamWriter, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        if status == 429:
            head += "Retry-After: 120\r\n"
        writer.write(f"{head}\r\n".encode() + data)
        await writer.drain()


@dataclass
class MakeThing:
    """The toy's recipe: found by name, or by its key."""

    client: Transport
    name: str
    effect: Effect = Effect.FINDABLE
    unit: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    account: str = "me"

    @property
    def operation(self) -> Operation:
        return operation(self.effect, **self.options)

    @property
    def result_type(self) -> type[Thing]:
        return Thing

    async def identity(self) -> Identity:
        return Identity(account=self.account, target="things", inputs={"name": self.name}, unit=self.unit)

    async def baseline(self) -> list[str]:
        return [thing.id for thing in await self._list()]

    async def send(self, external_id: str) -> Thing:
        key = external_id if self.effect is Effect.KEYED else None
        answer = await self.client.call(self.operation, json={"name": self.name, "key": key})
        return answer.read(Thing)

    async def look(self, context: Look) -> Verdict[Thing]:
        if self.effect is Effect.BLIND:
            return NotYetKnown("nothing to look at")
        seen = [x for x in await self._list() if x.name == self.name and x.id not in (context.baseline or [])]
        others = await context.taken(x.id for x in seen)
        mine = [x for x in seen if x.id not in others]
        if len(mine) > 1:
            return Several(tuple(x.id for x in mine))
        return Found(mine[0]) if mine else Absent()

    def vendor_id(self, result: Thing) -> str:
        return result.id

    def final(self, _error: PlaitError) -> bool:
        return False

    async def _list(self) -> list[Thing]:
        return (await self.client.call(LIST)).read_list(Thing)
