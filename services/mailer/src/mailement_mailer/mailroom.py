"""The ledger's flow: claim → compose → freeze and mark as sending → hand over → record.

Nothing holds a database connection while a provider is spoken to. Each mail account has a desk of its own, so that one
that is slow, full or closed holds up nobody else's mail.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import asyncpg

from mailement_common.clock import Clock
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.ids import BrandId
from mailement_common.logs import logger
from mailement_common.supervise import keep_running, wait_for
from mailement_mailer.accounts import Accounts
from mailement_mailer.clerk import Clerk
from mailement_mailer.compose import Composer, freeze, thaw
from mailement_mailer.composing import Composed, Draft, composed
from mailement_mailer.desk import Desk, Job, Unit
from mailement_mailer.providers.fleet import Fleet
from mailement_mailer.providers.port import BatchProvider, Outcome, Provider, RetryLater, Uncertain
from mailement_mailer.rounds import LEASE, Round, Rounds
from mailement_mailer.routes import NoRoute, Route, RouteBook
from mailement_mailer.settle import MAX_TRIES, put_off, settled, thawed, unclear
from mailement_mailer.signing import Signing
from mailement_mailer.telling import tell, tell_cancelled, tell_expired, tell_lost
from mailement_newsletter.queries import lanes, messages
from mailement_newsletter.queries.messages import Claimed, Departure, Fate, Place

_POLL_SECONDS: Final = 0.5
_SWEEP_SECONDS: Final = 5.0
# Several times within a lease, so that one that fails does no harm.
_RENEW_SECONDS: Final = 5.0
_SWEEP_BATCH: Final = 500
_BATCHES_AGAIN_SECONDS: Final = 1.0
_BATCHES_AGAIN: Final = 8
_RELEASE_SECONDS: Final = 5
# A brand whose templates are slow gets this much of a thread in a round; the rest of its mails wait in the queue.
_COMPOSE_SECONDS: Final = 1.0

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handed:
    """What a provider has answered, and nobody has written down yet."""

    jobs: Sequence[Job]
    fates: Sequence[Fate]
    refusal: RetryLater | None
    seconds: float
    provider: str


class Mailroom:
    """Delivers what is due, `concurrency` mails at a time for each account; any number of mailrooms share one ledger."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        book: RouteBook,
        fleet: Fleet,
        signing: Signing,
        composer: Composer,
        clock: Clock,
        concurrency: int,
        renew_seconds: float = _RENEW_SECONDS,
    ) -> None:
        self._pool = pool
        self._renew_seconds = renew_seconds
        self._book = book
        self._composer = composer
        self._clock = clock
        self._renewed_at = clock.now()
        self._signing = signing
        self._clerk = Clerk(pool, clock)
        self._accounts = Accounts(
            pool,
            book,
            fleet,
            clock,
            concurrency=concurrency,
            spawn=self._spawn,
            deliver=self._deliver,
            put_back=lambda desk, units: self._put_back([(desk, units)]),
            keep_running=lambda loop: keep_running("mail desk", loop, self._stop),
            freed=self.wake,
        )
        self._rounds = Rounds(
            pool, book, clock, paced=self._accounts.paced, closed=lambda: self._accounts.closed
        )
        self._woken = asyncio.Event()
        self._stop = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    @property
    def trouble(self) -> str | None:
        """Why an account takes no mail at present, or a brand's mail has no way; None when all is well."""
        return self._accounts.trouble or self._rounds.trouble

    def wake(self) -> None:
        """There may be something to do: look now, not at the next poll."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`; then finishes what is on the wire and puts back what is not."""
        self._stop = stop
        renewing = asyncio.create_task(self._renew())
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(keep_running("mail leases", lambda: self._sweep(stop), stop))
                self._group.create_task(keep_running("mail batches", lambda: self._repeat(stop), stop))
                await keep_running("mail claims", lambda: self._claim(stop), stop)
                await self._put_back(self._accounts.clear())
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})
            await self._accounts.close()
            await self._clerk.close()

    # Claiming

    async def _claim(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._woken.clear()
            done = await self._rounds.next(room=self._accounts.most_room)
            await self._take(done)
            if not done.found:
                await wait_for(self._woken, _POLL_SECONDS)

    async def _take(self, done: Round) -> None:
        for cancelled in done.claims.cancelled:
            tell_cancelled(cancelled)
        fresh = [message for message in done.claims.claimed if message.payload is None]
        steps = {message.step_id for message in fresh if message.step_id is not None}
        contents = await messages.step_contents(self._pool, list(steps)) if steps else {}
        by_brand: dict[BrandId, list[Draft]] = {}
        for message in fresh:
            content = None if message.step_id is None else contents.get(message.step_id)
            route = done.routes[message.brand.id, message.kind]
            by_brand.setdefault(message.brand.id, []).append(
                Draft(message=message, content=content, route=route)
            )
        for drafts in by_brand.values():
            for draft in drafts:
                self._accounts.desk_of(draft.route).take_in_hand([draft.message])
            # From here on it is `_prepare` that lets go of them, whatever happens.
            self._spawn(self._prepare(drafts))
        for message in done.claims.claimed:
            if message.payload is not None:
                await self._again([message])

    async def _prepare(self, drafts: Sequence[Draft]) -> None:
        """Composes one brand's mails of a round and puts them in line; what there is no time for goes back."""
        left = list(drafts)
        try:
            async for some in composed(self._composer, drafts, now=self._clock.now, budget=_COMPOSE_SECONDS):
                left = left[len(some) :]
                try:
                    await self._refuse(
                        [(each.draft, each.mail) for each in some if isinstance(each.mail, Fate)]
                    )
                finally:
                    await self._line_up([unit for each in some if (unit := _unit(each)) is not None])
        finally:
            for draft in left:
                self._accounts.desk_of(draft.route).let_go([draft.message])
        await self._release([draft.message for draft in left])
        await self._accounts.give_back(draft.route for draft in left)

    async def _line_up(self, units: Iterable[Unit]) -> None:
        """What comes for a desk that has begun to rest meanwhile goes back."""
        back: list[tuple[Desk, Sequence[Unit]]] = []
        for unit in units:
            desk = self._accounts.desk_of(unit.jobs[0].route)
            if desk.takes(unit) and not self._stop.is_set():
                desk.push(unit)
            else:
                back.append((desk, [unit]))
        await self._put_back(back)

    async def _refuse(self, fates: Sequence[tuple[Draft, Fate]]) -> None:
        """Messages that no mail could be made of."""
        if not fates:
            return
        try:
            recorded = await self._clerk.record([fate for _, fate in fates])
        finally:
            for draft, _ in fates:
                self._accounts.desk_of(draft.route).let_go([draft.message])
        for draft, fate in fates:
            if fate.lease in recorded:
                provider = self._accounts.provider(self._accounts.desk_of(draft.route)).name
                tell(draft.message, fate, seconds=0.0, now=self._clock.now(), provider=provider)
            else:
                tell_lost(draft.message, before="recording")
        await self._accounts.give_back([draft.route for draft, _ in fates])

    # What goes out once more, as it is

    async def _repeat(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._outlive_an_outage()
            now = self._clock.now()
            limit = self._accounts.batches_again(_BATCHES_AGAIN)
            batches = await lanes.claim_batches(
                self._pool,
                now=now,
                lease_until=now + LEASE,
                lease_token=uuid4(),
                keys=self._accounts.known_keys,
                max_tries=MAX_TRIES,
                limit=limit,
                full=self._accounts.full,
            )
            for members in batches:
                await self._again(members)
            if len(batches) < limit:
                await wait_for(stop, _BATCHES_AGAIN_SECONDS)

    async def _again(self, members: Sequence[Claimed]) -> None:
        """A mail or a batch that is frozen goes through the account that it went through before."""
        first = members[0]
        if (doubt := self._doubt(first)) is not None:
            await self._give_up(members, doubt)
            return
        way = await self._accounts.way_back(first)
        if isinstance(way, NoRoute):
            await self._without_a_way(members, way)
            return
        desk = self._accounts.desk_of(way)
        if not desk.room_again:
            seconds = max(desk.rests_for, _BATCHES_AGAIN_SECONDS)
            await self._wait(members, until=self._clock.now() + timedelta(seconds=seconds))
            return
        try:
            jobs = [_frozen_job(message, way) for message in members]
        except Exception as error:  # noqa: BLE001  a defect of ours: the next release may read what this cannot
            now, reason = self._clock.now(), f"composing broke: {type(error).__name__}: {error}"
            end = put_off if first.place is None else unclear
            await self._conclude_unsent(members, [end(message, reason, now=now) for message in members])
            return
        desk.take_in_hand(members)
        batch = None if first.place is None else first.place.batch
        await self._line_up([Unit(jobs=jobs, batch=batch, is_frozen=True)])

    def _doubt(self, message: Claimed) -> str | None:
        """Why nobody can find out any more whether a mail has arrived. None: asking again under its key would tell, it has
        certainly not arrived, or somebody wished for it once more all the same.
        """
        if not message.may_have_arrived or message.provider is None:
            return None
        keys = self._accounts.known_keys
        if message.account_id is None and message.provider != keys.own:
            return f"it may have arrived, and {message.provider} does not carry this mail any more"
        kept = keys.kept.get(message.provider)
        if kept is None or message.first_attempt_at is None:
            return None
        if self._clock.now() < message.first_attempt_at + kept:
            return None
        return "it may have arrived, and the provider does not know its key any more"

    async def _without_a_way(self, members: Sequence[Claimed], way: NoRoute) -> None:
        first = members[0]
        if not first.may_have_arrived:
            await self._conclude_unsent(members, [thawed(message, way.reason) for message in members])
            await self._accounts.give_back_frozen(members)
        elif way.stays_closed and first.provider not in self._accounts.known_keys.kept:
            await self._give_up(members, f"it may have arrived, and its way is closed: {way.reason}")
        else:
            await self._wait(members, until=way.until)

    async def _give_up(self, members: Sequence[Claimed], reason: str) -> None:
        now = self._clock.now()
        await self._conclude_unsent(members, [unclear(message, reason, now=now) for message in members])

    async def _conclude_unsent(self, members: Sequence[Claimed], fates: Sequence[Fate]) -> None:
        """What became of mails without anybody being asked to take them."""
        await self._record(
            members, fates, seconds=0.0, providers=[message.provider or "" for message in members]
        )

    # Sending

    async def _deliver(self, desk: Desk, unit: Unit) -> None:
        """Takes a slot only until the provider has answered; what became of the mail is written down beside the next one."""
        handed: _Handed | None = None
        try:
            handed = await self._send(desk, unit)
        finally:
            if handed is None:
                desk.let_go(job.message for job in unit.jobs)
        if handed is not None:
            self._spawn(self._finish(desk, unit, handed))

    async def _send(self, desk: Desk, unit: Unit) -> _Handed | None:
        """None when all of it belongs to another mailer by now."""
        provider = self._accounts.provider(desk)
        jobs = await self._start(desk, provider, unit)
        if not jobs:
            return None
        started = time.monotonic()
        with self._signing.under((job.message.id, job.route.dkim) for job in jobs):
            outcomes = await _hand_over(provider, unit, jobs)
        seconds = time.monotonic() - started
        refusal = self._accounts.judge(desk, outcomes)
        fates = settled(
            [job.message for job in jobs],
            outcomes,
            in_batch=unit.batch is not None,
            seconds=seconds,
            now=self._clock.now(),
        )
        return _Handed(jobs=jobs, fates=fates, refusal=refusal, seconds=seconds, provider=provider.name)

    async def _finish(self, desk: Desk, unit: Unit, handed: _Handed) -> None:
        """The mails stay in hand, and their leases ours, until it is in the ledger."""
        try:
            await self._conclude(handed.jobs, handed.fates, seconds=handed.seconds, provider=handed.provider)
            await self._accounts.report(desk, handed.refusal)
        finally:
            desk.let_go(job.message for job in unit.jobs)

    async def _conclude(
        self, jobs: Sequence[Job], fates: Sequence[Fate], *, seconds: float, provider: str
    ) -> None:
        """Writes down what became of mails, tells it, and gives back what they did not use."""
        await self._record(
            [job.message for job in jobs], fates, seconds=seconds, providers=[provider] * len(jobs)
        )
        anew = [job for job, fate in zip(jobs, fates, strict=True) if fate.thaw]
        await self._accounts.give_back(job.route for job in anew)
        await self._accounts.give_back_frozen(job.message for job in anew)

    async def _record(
        self, mails: Sequence[Claimed], fates: Sequence[Fate], *, seconds: float, providers: Sequence[str]
    ) -> None:
        recorded = await self._clerk.record(fates)
        now = self._clock.now()
        for message, fate, provider in zip(mails, fates, providers, strict=True):
            if fate.lease in recorded:
                tell(message, fate, seconds=seconds, now=now, provider=provider)
            else:
                tell_lost(message, before="recording")

    async def _start(self, desk: Desk, provider: Provider, unit: Unit) -> list[Job]:
        """Freezes the mails and notes that they go out; the answer lacks those that another mailer has taken over."""
        jobs = [_placed(job, unit, number) for number, job in enumerate(unit.jobs)]
        started = await self._clerk.start([_departure(job, desk, provider) for job in jobs])
        for job in jobs:
            if job.message.lease not in started:
                tell_lost(job.message, before="sending")
        if unit.is_frozen and len(started) < len(jobs):
            # The key stands for all of them or for none.
            return []
        return [job for job in jobs if job.message.lease in started]

    # Putting back

    async def _put_back(self, waiting: Iterable[tuple[Desk, Sequence[Unit]]]) -> None:
        """What nobody has begun with. If that fails the lease's end does it."""
        fresh: list[Claimed] = []
        batches: list[Claimed] = []
        routes: list[Route] = []
        for desk, units in waiting:
            for unit in units:
                members = [job.message for job in unit.jobs]
                desk.let_go(members)
                (fresh if unit.batch is None else batches).extend(members)
                routes.extend(job.route for job in unit.jobs)
        await self._release(fresh)
        if batches:
            async with _or_not(messages=len(batches)):
                await self._wait(batches, until=self._clock.now() + timedelta(seconds=_BATCHES_AGAIN_SECONDS))
        await self._accounts.give_back(routes)

    async def _release(self, waiting: Sequence[Claimed]) -> None:
        if not waiting:
            return
        async with _or_not(messages=len(waiting)):
            await messages.release(self._pool, waiting)
            log.info("message.released", messages=len(waiting))

    async def _wait(self, members: Sequence[Claimed], *, until: datetime) -> None:
        """Frozen mails whose account takes nothing before `until`."""
        batched = [message for message in members if message.place is not None]
        single = [message for message in members if message.place is None]
        if batched:
            await messages.postpone_batches(self._pool, batched, until=until)
        if single:
            await messages.release(self._pool, single, not_before=until)

    # Housekeeping

    async def _renew(self) -> None:
        """As long as this process lives, what it has in hand stays its own: however slow a provider is, a crash shows soon."""
        while True:
            await asyncio.sleep(self._renew_seconds)
            try:
                await self._renew_in_hand()
            except (*DATABASE_UNABLE, asyncpg.PostgresError) as error:
                in_hand = len(self._accounts.in_hand)
                log.warning("message.not_renewed", messages=in_hand, reason=type(error).__name__)

    async def _renew_in_hand(self) -> None:
        now = self._clock.now()
        if in_hand := self._accounts.in_hand:
            await messages.renew(self._pool, in_hand, lease_until=now + LEASE)
        self._renewed_at = now

    async def _outlive_an_outage(self) -> None:
        """Before leases that have ended are taken: while the database was away ours may have ended, and we are not silent."""
        if self._clock.now() >= self._renewed_at + LEASE / 2:
            await self._renew_in_hand()

    async def _sweep(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._outlive_an_outage()
            expired = await messages.expire(
                self._pool,
                now=self._clock.now(),
                keys=self._accounts.known_keys,
                max_tries=MAX_TRIES,
                limit=_SWEEP_BATCH,
            )
            for message in expired:
                tell_expired(message)
            if expired:
                self.wake()
            if len(expired) < _SWEEP_BATCH:
                await wait_for(stop, _SWEEP_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._group is not None
        self._group.create_task(_guarded(work))


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    """A defect that meets one mail must not end the others' work; that mail's lease ends, and then it is looked at again."""
    try:
        await work
    except Exception:
        log.exception("message.work_failed")


@asynccontextmanager
async def _or_not(*, messages: int) -> AsyncIterator[None]:
    """Puts mails back, if the database can: what fails must not end the sends that are under way, and the lease ends."""
    try:
        async with asyncio.timeout(_RELEASE_SECONDS):
            yield
    except (*DATABASE_UNABLE, asyncpg.PostgresError) as error:
        log.warning("message.not_released", messages=messages, reason=type(error).__name__)


async def _hand_over(provider: Provider, unit: Unit, jobs: Sequence[Job]) -> Sequence[Outcome]:
    try:
        if unit.batch is None:
            return [await provider.send(job.mail) for job in jobs]
        assert isinstance(provider, BatchProvider)
        return await provider.send_batch(f"batch:{unit.batch}", [job.mail for job in jobs])
    except Exception as error:  # noqa: BLE001  a provider's defect must not leave the mail without an entry
        reason = f"{provider.name} broke: {type(error).__name__}: {error}"
        if provider.idempotent_for:
            return [RetryLater(reason=reason, may_have_arrived=True) for _ in jobs]
        return [Uncertain(reason=reason) for _ in jobs]


def _placed(job: Job, unit: Unit, number: int) -> Job:
    if unit.batch is None or unit.is_frozen:
        return job
    return replace(job, message=replace(job.message, place=Place(batch=unit.batch, position=number)))


def _departure(job: Job, desk: Desk, provider: Provider) -> Departure:
    message = job.message
    return Departure(
        id=message.id,
        lease_token=message.lease_token,
        payload=freeze(job.mail),
        attempt=message.attempts + 1,
        provider=provider.name,
        account_id=None if desk.account is None else desk.account.id,
        sender_id=message.sender_id if message.payload is not None else job.route.sender_id,
        place=message.place,
    )


def _unit(made: Composed) -> Unit | None:
    if isinstance(made.mail, Fate):
        return None
    return Unit(jobs=[Job(message=made.draft.message, mail=made.mail, route=made.draft.route)])


def _frozen_job(message: Claimed, way: Route) -> Job:
    assert message.payload is not None
    return Job(message=message, mail=thaw(message, message.payload), route=way)
