"""Accepting a question, making its answer in a task of the server's own, storing both.

The connection that asked only listens: when it hangs up, the answer is still made and stored, as
far as `after_hang_up` says so (planck.md §6.1, §8).
"""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plait.http.operation import Operation
from plait.sandbox.answer_blocks import Reply
from plait.sandbox.context import SandboxContext
from plait.sandbox.planck_chat import Chat, Question
from plait.sandbox.planck_store import StoredMessage
from plait.sandbox.planck_stream import Job
from plait.sandbox.store import Transaction

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the acceptance of a question writes."""

    operation: Operation
    entity_id: str
    question: StoredMessage | None
    """None for a stateless question: nothing of it is stored."""
    text: str

    def write(self, transaction: Transaction) -> None:
        """The question and its effect row, in one commit."""
        if self.question is not None:
            transaction.put(self.question)
        marker = hashlib.sha256(self.text.encode()).hexdigest()
        transaction.record(self.operation, entity_id=self.entity_id, marker=marker)


class Answering:
    """Owns the tasks in which answers are made."""

    def __init__(self, context: SandboxContext, chat: Chat) -> None:
        self._context = context
        self._settings = context.settings.planck
        self._chat = chat
        self._tasks: set[asyncio.Task[None]] = set()

    async def chat(self, question: Question, operation: Operation) -> Job:
        """Accept a stateless question; it is counted (and would be billed) now."""
        job = Job(id=str(uuid.uuid4()))
        await self._accept(Accepted(operation, job.id, None, question.text))
        self._start(self._answer_once(job, question), job)
        return job

    async def message(self, conversation_id: str, question: Question, operation: Operation) -> Job:
        """Accept a message of a conversation; its answer is stored when it is complete."""
        job = Job(id=str(uuid.uuid4()))
        stored = self._new(
            conversation_id,
            "user",
            [{"type": "text", "text": question.text}],
            documents=tuple(document.id for document in question.documents),
            database=question.database,
        )
        accepted = Accepted(operation, stored.id, stored, question.text)
        if self._settings.after_hang_up == "nothing":
            self._start(self._answer_all_or_nothing(job, question, accepted, conversation_id), job)
        else:
            await self._accept(accepted)
            self._start(self._answer_and_store(job, question, conversation_id), job)
        return job

    async def aclose(self) -> None:
        """Give up what is still being made; what was accepted stays accepted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, accepted: Accepted) -> None:
        await self._context.store.transact(accepted.write)

    def _start(self, work: Any, job: Job) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, job))

    def _ended(self, task: "asyncio.Task[None]", job: Job) -> None:
        """Whatever happened, nobody waits for this job any longer."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("an answer of the Planck AI stand-in failed", exc_info=task.exception())
        if not job.blocks.done():
            job.blocks.cancel()
        job.finished.set()

    async def _make(self, job: Job, question: Question) -> Reply:
        reply = await self._chat.answer(question)
        await self._context.clock.sleep(self._settings.thinking)
        job.blocks.set_result(reply.wire())
        return reply

    async def _answer_once(self, job: Job, question: Question) -> None:
        await self._make(job, question)

    async def _answer_and_store(self, job: Job, question: Question, conversation_id: str) -> None:
        reply = await self._make(job, question)
        answer = self._new(conversation_id, "assistant", reply.wire())
        if self._settings.half_finished:
            await self._put(_half(answer))
        if not await job.delivered:
            if self._settings.after_hang_up == "question_only":
                return
            await self._context.clock.sleep(self._settings.late_reply)
        await self._put(answer)

    async def _answer_all_or_nothing(
        self, job: Job, question: Question, accepted: Accepted, conversation_id: str
    ) -> None:
        reply = await self._make(job, question)
        answer = self._new(conversation_id, "assistant", reply.wire())
        if await job.delivered:
            await self._context.store.transact(
                _both(accepted.write, lambda transaction: transaction.put(answer))
            )

    async def _put(self, message: StoredMessage) -> None:
        await self._context.store.transact(lambda transaction: transaction.put(message))

    def _new(
        self,
        conversation_id: str,
        role: str,
        content: list[dict[str, Any]],
        documents: tuple[str, ...] = (),
        database: str | None = None,
    ) -> StoredMessage:
        return StoredMessage(
            id=str(uuid.uuid4()),
            parent=conversation_id,
            created_at=self._context.now(),
            role=role,
            content=content,
            documents=documents,
            database=database,
        )


def _half(message: StoredMessage) -> StoredMessage:
    """The message as it looks while it is being written."""
    content = [
        {**block, "text": block["text"][: len(block["text"]) // 2]} if block["type"] == "text" else block
        for block in message.content[:2]
    ]
    return message.model_copy(update={"content": content, "complete": False})


def _both(
    first: Callable[[Transaction], None], second: Callable[[Transaction], None]
) -> Callable[[Transaction], None]:
    def work(transaction: Transaction) -> None:
        first(transaction)
        second(transaction)

    return work
