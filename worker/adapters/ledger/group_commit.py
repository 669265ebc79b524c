"""Group commit: operations requested concurrently share one transaction.

While one transaction runs, the next one's operations gather; so a single caller waits for one commit, and a hundred
callers also wait for one commit. Each caller waits on a future, and may give up without affecting the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from worker.adapters.ledger.operations import Key, Operation, ToClaim, ToRelease, to_release
from worker.delivery.ports import Clock
from worker.errors import SendasError, Unavailable

T = TypeVar("T")

RunBatch = Callable[[Sequence[Operation[Any]]], Awaitable[Mapping[Operation[Any], Any]]]


class Observer(Protocol):
    """Notified after every transaction, for metrics."""

    def committed(self, operations: int, seconds: float) -> None:
        """One transaction served this many operations and took this long from begin to commit."""


@dataclass(eq=False, slots=True)
class _Waiting:
    operation: Operation[Any]
    future: "asyncio.Future[Any]"
    is_late: bool = False

    @property
    def is_answered(self) -> bool:
        return self.future.done() and not self.future.cancelled()

    def give_up(self) -> None:
        """Time out: stop waiting for the answer, visibly to the writer."""
        self.is_late = self.future.cancel()


class GroupCommit:
    """The process's only task that writes to the ledger's database."""

    def __init__(
        self, run_batch: RunBatch, clock: Clock, timeout_s: float, max_operations: int, observer: Observer | None
    ) -> None:
        self._run_batch = run_batch
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_operations = max_operations
        self._observer = observer
        self._queue: deque[_Waiting] = deque()
        self._changed = asyncio.Event()
        self._is_closing = False
        self._is_answering = True
        self._given_up: dict[Key, None] = {}
        self._stuck: set[asyncio.Task[Any]] = set()
        self._writer = asyncio.create_task(self._write(), name="ledger-writer")

    async def submit(self, operation: Operation[T]) -> T:
        """Run the operation; returns its answer after its transaction has committed.

        Raises:
            Unavailable: no answer within the timeout; whether the operation was applied is unknown.
        """
        if self._is_closing:
            raise Unavailable("the ledger is closed")
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        waiting = _Waiting(operation, loop.create_future())
        self._queue.append(waiting)
        self._changed.set()
        is_received = False
        # `asyncio.timeout` would do the same at several times the cost, three times per letter.
        timer = loop.call_later(self._timeout_s, waiting.give_up)
        requests = task.cancelling() if task else 0
        try:
            answer = await waiting.future
            is_received = True
        except asyncio.CancelledError:
            if not waiting.is_late or (task and task.cancelling() > requests):
                raise
            raise Unavailable(f"the ledger has not answered within {self._timeout_s:g} s") from None
        finally:
            timer.cancel()
            if not is_received and waiting.is_answered:
                self._give_up(waiting)  # cancelled after the answer came and before this task could take it
        return cast(T, answer)

    async def close(self) -> None:
        """Serve everything submitted so far, then stop."""
        self._is_closing = True
        self._changed.set()
        await self._writer
        if self._stuck:
            await asyncio.wait(self._stuck, timeout=self._timeout_s)

    async def _write(self) -> None:
        try:
            while True:
                if (batch := self._next_batch()) or (self._given_up and self._is_answering):
                    await self._serve(batch)
                elif self._is_closing:
                    return
                else:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            self._is_closing = True
            for waiting in self._queue:
                _resolve(waiting, Unavailable("the ledger is closed"))

    def _next_batch(self) -> list[_Waiting]:
        """The longest prefix of the queue that is within the limit and touches no entry twice."""
        batch: list[_Waiting] = []
        touched: set[Key] = set()
        while self._queue and len(batch) < self._max_operations:
            waiting = self._queue[0]
            if waiting.future.done():
                self._queue.popleft()
                continue
            keys = waiting.operation.keys
            if not touched.isdisjoint(keys):
                break
            touched |= keys
            batch.append(self._queue.popleft())
        return batch

    async def _serve(self, batch: list[_Waiting]) -> None:
        for waiting in batch:
            if isinstance(waiting.operation, ToClaim):
                # Requested again: an entry left by an earlier claim is ours, and is granted now.
                self._forget_given_up(waiting.operation.keys)
        corrections = self._corrections()
        operations = [*corrections, *(waiting.operation for waiting in batch)]
        started = self._clock.monotonic()
        answers = await self._commit(operations)
        self._is_answering = not isinstance(answers, BaseException)
        if isinstance(answers, BaseException):
            await self._fail(batch, answers)
            return
        if self._observer is not None and batch:
            self._observer.committed(len(batch), self._clock.monotonic() - started)
        for correction in corrections:
            self._forget_given_up(correction.keys)
        for waiting in batch:
            self._deliver(waiting, answers[waiting.operation])

    async def _commit(self, operations: Sequence[Operation[Any]]) -> Mapping[Operation[Any], Any] | BaseException:
        """The answers, or the error. A hanging transaction is abandoned, so that the writer does not hang with it."""
        transaction = asyncio.ensure_future(self._run_batch(operations))
        try:
            await asyncio.wait({transaction}, timeout=self._timeout_s)
        finally:
            if not transaction.done():
                self._stuck.add(transaction)
                transaction.add_done_callback(self._forget)
                transaction.cancel()
        if not transaction.done():
            return Unavailable(f"the ledger's database has not answered within {self._timeout_s:g} s")
        if transaction.cancelled():
            return Unavailable("the ledger's transaction was cancelled")
        return transaction.exception() or transaction.result()

    def _forget(self, transaction: "asyncio.Future[Any]") -> None:
        self._stuck.discard(cast("asyncio.Task[Any]", transaction))
        if not transaction.cancelled():
            transaction.exception()  # its outcome no longer matters

    async def _fail(self, batch: list[_Waiting], error: BaseException) -> None:
        if not isinstance(error, Unavailable) and len(batch) > 1:
            # One of the operations caused the rollback: run each alone, so that only that one fails.
            for waiting in batch:
                await self._serve([waiting])
            return
        for waiting in batch:
            self._deliver(waiting, error)

    def _deliver(self, waiting: _Waiting, answer: Any) -> None:
        """Resolve the future; release a claim whose caller is gone, or it leaks until our lease ends."""
        if waiting.future.done() or isinstance(answer, BaseException):
            self._give_up(waiting)
        _resolve(waiting, answer)

    def _give_up(self, waiting: _Waiting) -> None:
        if isinstance(waiting.operation, ToClaim):
            self._given_up |= dict.fromkeys(waiting.operation.keys)
            self._changed.set()

    def _forget_given_up(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._given_up.pop(key, None)

    def _corrections(self) -> list[ToRelease]:
        of_events: dict[str, list[int]] = {}
        for event_key, recipient in list(self._given_up)[: self._max_operations]:
            of_events.setdefault(event_key, []).append(recipient)
        return [to_release(event_key, recipients, keeps_doubt=True) for event_key, recipients in of_events.items()]


def _resolve(waiting: _Waiting, answer: Any) -> None:
    if waiting.future.done():
        return
    if isinstance(answer, SendasError):
        # A separate error for each: a traceback shared by several tasks would grow with each.
        waiting.future.set_exception(type(answer)(*answer.args))
    elif isinstance(answer, BaseException):
        waiting.future.set_exception(answer)
    else:
        waiting.future.set_result(answer)
