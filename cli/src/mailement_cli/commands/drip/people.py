"""`mailement drip enroll|exit|stats|runs|simulate|explain`: who is in a drip, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Final

import click

from mailement_cli.commands.drip.options import (
    brand_of,
    drip_argument,
    naming,
    naming_run,
    run_argument,
    say_all,
)
from mailement_cli.commands.subscriber import who_of, who_options
from mailement_cli.commands.values import Moment, Pair
from mailement_cli.output import cut, plain, show_many, show_one, terminal_width, to_json
from mailement_cli.pages import Page, cursor_option, full_page, limit_option, show_page
from mailement_cli.session import Fault, brand_option, command, database_pool, json_option
from mailement_common.clock import SystemClock
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.commands import Enroll
from mailement_newsletter.errors import BadCursor, CannotEnroll
from mailement_newsletter.rules.drip_definition import StepKind
from mailement_newsletter.rules.drip_runs import Run, RunState
from mailement_newsletter.usecases.drip_stats import drip_stats
from mailement_newsletter.usecases.enroll import enroll as put_in
from mailement_newsletter.usecases.exit_run import exit_run
from mailement_newsletter.usecases.explain_run import explain_run
from mailement_newsletter.usecases.list_runs import list_runs
from mailement_newsletter.usecases.show_run import show_run
from mailement_newsletter.usecases.simulate_drip import SimulatedStep, Simulation, Somebody, simulate_drip

_RUN_COLUMNS: Final = ("id", "subscriber_id", "run_no", "state", "exit_reason", "next_run_at")
_FUNNEL_COLUMNS: Final = ("label", "kind", "waiting", "ran", "sent", "failed", "open_rate", "click_rate")
_REFUSALS: Final = {
    "subscriber_unsubscribed": "the subscriber has unsubscribed",
    "subscriber_bounced": "mails to the subscriber have bounced",
    "subscriber_complained": "the subscriber has marked a mail as spam",
    "drip_archived": "the drip is archived",
    "drip_draft": "the drip is a draft: an edit with `state: live` lets it begin",
    "drip_has_no_steps": "the drip has no steps",
}


@click.command()
@drip_argument
@brand_option
@who_options
@json_option
@command
async def enroll(
    drip_id: int, brand: str, email: str | None, subscriber_id: int | None, *, as_json: bool
) -> None:
    """Put a subscriber into a drip, whatever its trigger, as often as its policy allows."""
    who = who_of(email, subscriber_id)
    async with database_pool() as pool:
        async with pool.acquire() as connection:
            owner = await find_brand(connection, brand)
        with naming(drip_id) as drip:
            try:
                enrolled = await put_in(pool, Enroll(brand_id=owner.id, drip_id=drip, who=who))
            except CannotEnroll as error:
                raise Fault(_REFUSALS[error.reason]) from None
    show_one(enrolled, as_json=as_json)


@click.command("exit")
@run_argument
@brand_option
@json_option
@command
async def exit_(run_id: int, brand: str, *, as_json: bool) -> None:
    """Take somebody out of a drip: end a run. What waits to be sent of it is cancelled."""
    async with brand_of(brand) as (connection, owner):
        with naming_run(run_id) as run:
            await exit_run(connection, owner, run)
            report = await show_run(connection, owner, run)
    show_one(report.run, as_json=as_json)


@click.command()
@drip_argument
@brand_option
@json_option
@command
async def stats(drip_id: int, brand: str, *, as_json: bool) -> None:
    """The numbers of a drip, step by step."""
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            found = await drip_stats(connection, owner, drip)
    if as_json:
        click.echo(to_json(found))
        return
    show_one({**asdict(found.numbers), "completion_rate": found.completion_rate}, as_json=False)
    click.echo()
    rows = [{**plain(step), **asdict(step.numbers)} for step in found.steps]
    show_many(rows, as_json=False, columns=_FUNNEL_COLUMNS)


@click.command()
@drip_argument
@brand_option
@who_options
@click.option("--state", type=click.Choice([state.value for state in RunState]))
@cursor_option
@limit_option
@json_option
@command
async def runs(
    drip_id: int,
    brand: str,
    email: str | None,
    subscriber_id: int | None,
    state: str | None,
    cursor: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List the runs of a drip, in the order of their subscribers."""
    wanted = RunState(state) if state else None
    who = None if email is None and subscriber_id is None else who_of(email, subscriber_id)
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:

            async def fetch(limit: int, cursor: str | None) -> Page[Run, str]:
                page = await list_runs(
                    connection, owner, drip, state=wanted, who=who, limit=limit, cursor=cursor
                )
                return page.runs, page.cursor

            try:
                page = await full_page(fetch, limit=limit, cursor=cursor)
            except BadCursor:
                raise Fault("--cursor is not one that came with a page of this list") from None
    show_page(page, as_json=as_json, columns=_RUN_COLUMNS)


@click.command()
@drip_argument
@brand_option
@who_options
@click.option(
    "--topic", "topics", multiple=True, help="A topic that somebody has; may be given several times."
)
@click.option(
    "--field",
    "fields",
    type=Pair(),
    multiple=True,
    metavar="KEY=VALUE",
    help="What a field of somebody holds; also city, first_name, …",
)
@click.option("--from", "since", type=Moment(), help="From when on; now, if it is not given.")
@json_option
@command
async def simulate(
    drip_id: int,
    brand: str,
    email: str | None,
    subscriber_id: int | None,
    topics: tuple[str, ...],
    fields: tuple[tuple[str, str], ...],
    since: datetime | None,
    *,
    as_json: bool,
) -> None:
    """List what a subscriber would get and when; or, without one, somebody with these topics and fields."""
    named = email is not None or subscriber_id is not None
    if named and (topics or fields):
        raise Fault(
            "--topic and --field are for somebody who need not exist: leave them out, or --email and --id"
        )
    whom = who_of(email, subscriber_id) if named else Somebody.of(dict(fields), topics=topics)
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            found = await simulate_drip(connection, owner, drip, whom, since=since or SystemClock().now())
    if as_json:
        click.echo(to_json(found))
        return
    for line in simulation_in_lines(found):
        click.echo(cut(line, terminal_width()))
    say_all(found.notes)


def simulation_in_lines(found: Simulation) -> Iterator[str]:
    """One line for each step; local times are the drip's for this person."""
    yield f"Times in {found.timezone}."
    for step in found.steps:
        name = step.label or step.subject or ""
        told = (
            f"{step.local:%a %Y-%m-%d %H:%M}  {step.number:>3}  {step.kind.value:<12}  {name}{_remark(step)}"
        )
        yield told.rstrip()
    reason = "" if found.end_reason is None else f" ({found.end_reason})"
    yield f"{' ' * 20}       {found.end}{reason}"


def _remark(step: SimulatedStep) -> str:
    remarks = []
    if step.skipped:
        remarks.append("skipped: it fell due during the pause")
    if step.holds is not None:
        remarks.append("holds" if step.holds else "does not hold")
    if (step.at - step.plain_at).total_seconds() > 1 and step.kind is StepKind.SEND and not step.skipped:
        remarks.append("waits for the window")
    return f"  [{', '.join(remarks)}]" if remarks else ""


@click.command()
@run_argument
@brand_option
@json_option
@command
async def explain(run_id: int, brand: str, *, as_json: bool) -> None:
    """Say why the person of a run got each step, or did not, or not yet."""
    async with brand_of(brand) as (connection, owner):
        with naming_run(run_id) as run:
            found = await explain_run(connection, owner, run, now=SystemClock().now())
    if as_json:
        click.echo(to_json(found))
        return
    say_all([found.summary])
    click.echo()
    say_all([step.text for step in found.steps])
