"""`mailement webhook replay`: many deliveries of an endpoint once more, as a job."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

import click

from mailement_cli.commands.values import Moment
from mailement_cli.commands.webhook.options import Which, endpoint_argument
from mailement_cli.output import plain, show_many, show_one
from mailement_cli.progress import Pace, Progress, ProgressLine, span_in_words
from mailement_cli.session import command, database, json_option
from mailement_common.db.pool import Connection
from mailement_newsletter.catalog.brands import find_brand
from mailement_webhooks.ids import EndpointId, ReplayId
from mailement_webhooks.replays import (
    DEFAULT_RATE,
    OUTCOMES,
    Replay,
    ReplayCount,
    ReplayFilter,
    ReplayState,
)
from mailement_webhooks.usecases.change_replay import (
    cancel_replay,
    pause_replay,
    resume_replay,
    set_replay_rate,
)
from mailement_webhooks.usecases.list_replays import list_replays, show_replay
from mailement_webhooks.usecases.start_replay import check_replay_rate, count_replay, start_replay

_COLUMNS: Final = (
    *("id", "endpoint_id", "state", "rate_per_second"),
    *("total", "enqueued", "delivered", "failed", "created_at"),
)
_LOOKS_PER_SECOND: Final = 4
# As a shell says it of whoever was stopped by Ctrl-C.
_INTERRUPTED: Final = 130


@click.group()
def replay() -> None:
    """Send many deliveries of a webhook once more, beside what comes newly and never before it."""


@replay.command()
@endpoint_argument
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only these events.")
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    type=click.Choice([state.value for state in OUTCOMES]),
    help="Only what came to this; without it, all that is finished.",
)
@click.option("--since", type=Moment(), help="Only events from then on: 2026-05-19T17:42, or 2h.")
@click.option("--until", type=Moment(), help="Only events before then.")
@click.option(
    "--rate", type=float, metavar="N", default=DEFAULT_RATE, show_default=True, help="Deliveries a second."
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--watch", "and_watch", is_flag=True, help="Stay, and show how far it is.")
@json_option
@command
async def start(
    which: Which,
    types: tuple[str, ...],
    outcomes: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    rate: float,
    *,
    dry_run: bool,
    and_watch: bool,
    as_json: bool,
) -> None:
    """Start a replay of what is finished by now."""
    wanted = ReplayFilter(
        types=types or None,
        outcomes=tuple(state for state in OUTCOMES if state.value in outcomes) or None,
        occurred_from=since,
        occurred_until=until,
    )
    async with database() as connection:
        endpoint_id = await which.find(connection)
        if dry_run:
            _tell_count(await count_replay(connection, endpoint_id, wanted), rate, as_json=as_json)
            return
        started = await start_replay(connection, endpoint_id, wanted, rate_per_second=rate)
        ended = await _watched(connection, started) if and_watch else started
    _tell(ended, as_json=as_json)


@replay.command("list")
@click.option("--brand", metavar="SLUG", help="Only those of this brand's webhooks.")
@click.option("--endpoint", "endpoint_id", type=int, metavar="ID", help="Only those of this webhook.")
@click.option("--before", type=int, help="Only ids below this one: the next page.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@command
async def list_(
    brand: str | None, endpoint_id: int | None, before: int | None, limit: int, *, as_json: bool
) -> None:
    """List replays, the newest first."""
    async with database() as connection:
        found = await list_replays(
            connection,
            brand_id=(await find_brand(connection, brand)).id if brand else None,
            endpoint_id=None if endpoint_id is None else EndpointId(endpoint_id),
            limit=limit,
            before=None if before is None else ReplayId(before),
        )
    show_many([_facts(one) for one in found], as_json=as_json, columns=_COLUMNS)


def _replay_argument(function: Callable[..., None]) -> Callable[..., None]:
    return click.argument("replay_id", metavar="ID", type=int)(function)


@replay.command()
@_replay_argument
@json_option
@command
async def show(replay_id: int, *, as_json: bool) -> None:
    """Show a replay: its filter and how far it is."""
    async with database() as connection:
        _tell(await show_replay(connection, ReplayId(replay_id)), as_json=as_json)


@replay.command()
@_replay_argument
@json_option
@command
async def watch(replay_id: int, *, as_json: bool) -> None:
    """Show how far a replay is, until it ends; Ctrl-C leaves it running."""
    async with database() as connection:
        ended = await _watched(connection, await show_replay(connection, ReplayId(replay_id)))
    _tell(ended, as_json=as_json)


@replay.command()
@_replay_argument
@json_option
@command
async def pause(replay_id: int, *, as_json: bool) -> None:
    """Pause a replay; what it has put into the queue is still sent."""
    async with database() as connection:
        _tell(await pause_replay(connection, ReplayId(replay_id)), as_json=as_json)


@replay.command()
@_replay_argument
@json_option
@command
async def resume(replay_id: int, *, as_json: bool) -> None:
    """Let a paused replay go on."""
    async with database() as connection:
        _tell(await resume_replay(connection, ReplayId(replay_id)), as_json=as_json)


@replay.command()
@_replay_argument
@json_option
@command
async def cancel(replay_id: int, *, as_json: bool) -> None:
    """End a replay for good; what is not being sent yet is not sent."""
    async with database() as connection:
        _tell(await cancel_replay(connection, ReplayId(replay_id)), as_json=as_json)


@replay.command()
@_replay_argument
@click.argument("rate", metavar="N", type=float)
@json_option
@command
async def rate(replay_id: int, rate: float, *, as_json: bool) -> None:
    """Let a replay take at most N deliveries a second."""
    async with database() as connection:
        _tell(await set_replay_rate(connection, ReplayId(replay_id), rate), as_json=as_json)


async def _watched(connection: Connection, replay: Replay) -> Replay:
    """The replay as it ended."""
    loop, line, pace = asyncio.get_running_loop(), ProgressLine(sys.stderr), Pace()
    try:
        while not replay.has_ended:
            at = loop.time()
            line.show(_progress(replay, pace.at(at, _done(replay))), at=at)
            await asyncio.sleep(1 / _LOOKS_PER_SECOND)
            replay = await show_replay(connection, replay.id)
    except asyncio.CancelledError:
        line.end()
        _leave_running(replay)
    line.end(_progress(replay, None))
    return replay


def _leave_running(replay: Replay) -> NoReturn:
    goes_on = "stays paused" if replay.state is ReplayState.PAUSED else "goes on"
    click.echo(f"replay {replay.id} {goes_on}: `webhook replay watch {replay.id}` looks again", err=True)
    raise SystemExit(_INTERRUPTED)


def _progress(replay: Replay, per_second: float | None) -> Progress:
    done = _done(replay)
    known = "" if replay.total_is_exact else ", and more than could be counted"
    return Progress(
        doing=f"replay {replay.id}" + ("" if replay.state is ReplayState.RUNNING else f" {replay.state}"),
        done=done,
        # What was counted at the start can have been removed, or sent again by hand, by the time of its turn.
        total=done if replay.state is ReplayState.FINISHED else max(replay.total, done),
        note=f"{replay.delivered:,} delivered, {replay.failed:,} failed{known}",
        per_second=per_second,
    )


def _done(replay: Replay) -> int:
    return replay.delivered + replay.failed


def _tell(replay: Replay, *, as_json: bool) -> None:
    facts = _facts(replay)
    if not as_json and replay.time_left is not None:
        facts["time_left"] = span_in_words(replay.time_left)
    show_one(facts, as_json=as_json)


def _facts(replay: Replay) -> dict[str, Any]:
    fields = plain(replay)
    return {
        **{name: value for name, value in fields.items() if name != "filter"},
        **fields["filter"],
        "waiting": replay.waiting,
        "time_left": replay.time_left,
    }


def _tell_count(count: ReplayCount, rate: float, *, as_json: bool) -> None:
    check_replay_rate(rate)
    takes = timedelta(seconds=count.deliveries / rate)
    if as_json:
        show_one({**plain(count), "takes": takes}, as_json=True)
        return
    more = "" if count.is_exact else "at least "
    click.echo(f"{more}{count.deliveries:,} deliveries; at {rate:g} a second {more}{span_in_words(takes)}")
