"""The ledger's flow: claim → render → freeze and mark as sending → hand over → record.

Nothing holds a database connection while a provider is spoken to. Each mail has a worker for itself; workers meet
only in the two statements that start and record, which carry as many rows as came together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import uuid4

import asyncpg

from mailement_common.clock import Clock
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.ids import trace_id
from mailement_common.logs import logger
from mailement_common.supervise import keep_running, pauses, wait_for
from mailement_mailer.batcher import Batcher
from mailement_mailer.compose import CannotCompose, Composer, freeze
from mailement_mailer.metrics import LAG_SECONDS, MESSAGES, SEND_SECONDS
from mailement_mailer.providers.port import Outcome, Provider, RenderedMail, RetryLater, Uncertain
from mailement_mailer.settle import DEFAULT_PAUSE, MAX_ATTEMPTS, refused, settle
from mailement_newsletter.queries import messages
from mailement_newsletter.queries.messages import (
    Cancelled,
    Claimed,
    Departure,
    Expired,
    Fate,
    MessageState,
    StepContent,
)

# On top of the longest that the provider may take: whoever is silent for longer than the lease is gone.
_LEASE_MARGIN: Final = timedelta(seconds=25)
_POLL_SECONDS: Final = 0.5
_SWEEP_SECONDS: Final = 5.0
_SWEEP_BATCH: Final = 500
_RELEASE_SECONDS: Final = 5

_EVENTS: Final = {
    MessageState.SENT: "message.sent",
    MessageState.FAILED: "message.failed",
    MessageState.UNCERTAIN: "message.uncertain",
    MessageState.QUEUED: "message.retry_scheduled",
    MessageState.CANCELLED: "message.cancelled",
}
_OUTCOMES: Final = {
    MessageState.SENT: "sent",
    MessageState.FAILED: "failed",
    MessageState.UNCERTAIN: "uncertain",
    MessageState.QUEUED: "retried",
    MessageState.CANCELLED: "cancelled",
}

ResultT = TypeVar("ResultT")

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    message: Claimed
    content: StepContent | None


class Mailroom:
    """Delivers what is due, at most `concurrency` mails at a time; any number of mailrooms share one ledger."""

    def __init__(
        self, pool: asyncpg.Pool, provider: Provider, composer: Composer, clock: Clock, *, concurrency: int
    ) -> None:
        self._pool = pool
        self._provider = provider
        self._composer = composer
        self._clock = clock
        self._concurrency = concurrency
        self._lease = provider.longest + _LEASE_MARGIN
        self._woken = asyncio.Event()
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue()
        self._start = Batcher(self._start_all)
        self._record = Batcher(self._record_all)
        self._resting_until = 0.0
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the provider takes no mail at present; None when it does."""
        return self._trouble

    def wake(self) -> None:
        """There may be something to do: look now, not at the next poll."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`; then finishes what is on the wire and puts back what is not."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_running("mail leases", lambda: self._sweep(stop), stop))
                for _ in range(self._concurrency):
                    group.create_task(keep_running("mail worker", self._work, stop))
                await keep_running("mail claims", lambda: self._claim(stop), stop)
                await self._release()
                for _ in range(self._concurrency):
                    self._jobs.put_nowait(None)
        finally:
            await self._start.close()
            await self._record.close()

    async def _claim(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._woken.clear()
            room = self._room()
            if room == 0 or await self._claim_batch(room) < room:
                await wait_for(self._woken, _POLL_SECONDS)

    def _room(self) -> int:
        """As many mails wait behind those on the wire as are on it, and none while the provider rests."""
        if time.monotonic() < self._resting_until:
            return 0
        return self._concurrency - self._jobs.qsize()

    async def _claim_batch(self, limit: int) -> int:
        now = self._clock.now()
        claims = await messages.claim(
            self._pool, now=now, lease_until=now + self._lease, lease_token=uuid4(), limit=limit
        )
        for cancelled in claims.cancelled:
            _tell_cancelled(cancelled)
        steps = {message.step_id for message in claims.claimed if message.payload is None}
        contents = await messages.step_contents(self._pool, [step for step in steps if step]) if steps else {}
        for message in claims.claimed:
            content = None if message.step_id is None else contents.get(message.step_id)
            self._jobs.put_nowait(_Job(message=message, content=content))
        return len(claims.claimed) + len(claims.cancelled)

    async def _work(self) -> None:
        while (job := await self._jobs.get()) is not None:
            if self._jobs.qsize() <= self._concurrency // 2:
                self._woken.set()
            await self._deliver(job)

    async def _deliver(self, job: _Job) -> None:
        message = job.message
        mail = await self._compose(job)
        if isinstance(mail, Fate):
            await self._finish(message, mail, seconds=0.0)
            return
        departure = Departure(
            id=message.id,
            lease_token=message.lease_token,
            payload=freeze(mail),
            attempt=message.attempts + 1,
        )
        if not await self._start(departure):
            log.warning("message.lease_lost", **_facts(message), before="sending")
            return
        started = time.monotonic()
        outcome = await self._send(mail)
        seconds = time.monotonic() - started
        self._note_trouble(outcome)
        await self._finish(message, settle(outcome, message, now=self._clock.now()), seconds=seconds)

    async def _compose(self, job: _Job) -> RenderedMail | Fate:
        """In a thread: a template may take its time, and the others should not have to wait for it."""
        now = self._clock.now()
        try:
            return await asyncio.to_thread(self._composer.compose, job.message, job.content, now)
        except CannotCompose as fault:
            return refused(job.message, str(fault), now=now)
        except Exception as error:  # noqa: BLE001  a defect of ours: the next release may render what this cannot
            reason = f"composing broke: {type(error).__name__}: {error}"
            return settle(RetryLater(reason=reason), job.message, now=now)

    async def _send(self, mail: RenderedMail) -> Outcome:
        try:
            return await self._provider.send(mail)
        except Exception as error:  # noqa: BLE001  a provider's defect must not leave the mail without an entry
            reason = f"{self._provider.name} broke: {type(error).__name__}: {error}"
            return RetryLater(reason=reason) if self._provider.idempotent_for else Uncertain(reason=reason)

    def _note_trouble(self, outcome: Outcome) -> None:
        if isinstance(outcome, RetryLater) and outcome.provider_wide:
            pause = outcome.after or DEFAULT_PAUSE
            self._resting_until = time.monotonic() + pause.total_seconds()
            self._trouble = outcome.reason
        elif not isinstance(outcome, RetryLater):
            self._trouble = None

    async def _finish(self, message: Claimed, fate: Fate, *, seconds: float) -> None:
        if not await self._record(fate):
            log.warning("message.lease_lost", **_facts(message), before="recording", outcome=fate.state)
            return
        self._tell(message, fate, seconds)

    def _tell(self, message: Claimed, fate: Fate, seconds: float) -> None:
        MESSAGES.labels(outcome=_OUTCOMES[fate.state]).inc()
        if seconds:
            SEND_SECONDS.observe(seconds)
        facts: dict[str, object] = {
            **_facts(message),
            "attempt": message.attempts + 1,
            "duration_ms": round(seconds * 1000),
            "provider": self._provider.name,
        }
        match fate.state:
            case MessageState.SENT:
                lag = (self._clock.now() - message.created_at).total_seconds()
                LAG_SECONDS.observe(lag)
                log.info(_EVENTS[fate.state], **facts, lag_ms=round(lag * 1000))
            case MessageState.QUEUED:
                log.info(_EVENTS[fate.state], **facts, reason=fate.error, not_before=_iso(fate.not_before))
            case _:
                log.warning(_EVENTS[fate.state], **facts, reason=fate.error)

    async def _sweep(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            expired = await messages.expire(
                self._pool,
                now=self._clock.now(),
                provider=self._provider.name,
                idempotent_for=self._provider.idempotent_for,
                max_attempts=MAX_ATTEMPTS,
                limit=_SWEEP_BATCH,
            )
            for message in expired:
                _tell_expired(message)
            if expired:
                self.wake()
            if len(expired) < _SWEEP_BATCH:
                await wait_for(stop, _SWEEP_SECONDS)

    async def _release(self) -> None:
        """Puts back what no worker has taken. If that fails the lease's end does it."""
        waiting: list[Claimed] = []
        while not self._jobs.empty():
            if (job := self._jobs.get_nowait()) is not None:
                waiting.append(job.message)
        if not waiting:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await messages.release(self._pool, waiting)
        except (*DATABASE_UNABLE, asyncpg.PostgresError) as error:
            log.warning("message.not_released", messages=len(waiting), reason=type(error).__name__)
        else:
            log.info("message.released", messages=len(waiting))

    async def _start_all(self, departures: Sequence[Departure]) -> list[bool]:
        async def attempt() -> set[messages.MessageId]:
            now = self._clock.now()
            return await messages.start(
                self._pool, departures, provider=self._provider.name, now=now, lease_until=now + self._lease
            )

        started = await _patiently(attempt)
        return [departure.id in started for departure in departures]

    async def _record_all(self, fates: Sequence[Fate]) -> list[bool]:
        recorded = await _patiently(lambda: messages.record(self._pool, fates))
        return [fate.id in recorded for fate in fates]


async def _patiently(work: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Asks again while the database is away: what has become of a mail must not be forgotten over a restart."""
    waits = pauses()
    while True:
        try:
            return await work()
        except DATABASE_UNABLE as error:
            pause = next(waits)
            log.warning("database.unable", reason=type(error).__name__, retry_in_seconds=pause)
            await asyncio.sleep(pause)


def _tell_cancelled(message: Cancelled) -> None:
    MESSAGES.labels(outcome="cancelled").inc()
    log.info(_EVENTS[MessageState.CANCELLED], **_facts(message), reason=message.reason)


def _tell_expired(message: Expired) -> None:
    MESSAGES.labels(outcome=_OUTCOMES[message.state]).inc()
    log.warning(
        _EVENTS[message.state],
        **_facts(message),
        attempt=message.attempts,
        provider=message.provider,
        reason=message.error or "the mailer fell silent before sending",
    )


def _facts(message: Claimed | Cancelled | Expired) -> dict[str, object]:
    if isinstance(message, Claimed):
        brand_id, subscriber_id = message.brand.id, message.recipient.id
    else:
        brand_id, subscriber_id = message.brand_id, message.subscriber_id
    facts: dict[str, object] = {
        "message_id": message.id,
        "brand_id": brand_id,
        "subscriber_id": subscriber_id,
    }
    if message.traceparent is not None:
        facts["trace_id"] = trace_id(message.traceparent)
    return facts


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
