"""`mailement drip pause|resume|archive|retry`: whether a drip runs."""

from __future__ import annotations

from dataclasses import asdict

import click

from mailement_cli.commands.drip.options import brand_of, drip_argument, naming, report_row, say_all
from mailement_cli.output import show_one, to_json
from mailement_cli.session import brand_option, command, json_option
from mailement_newsletter.rules.drip_definition import CatchUp, DripState
from mailement_newsletter.usecases.archive_drip import archive_drip
from mailement_newsletter.usecases.pause_drip import pause_drip
from mailement_newsletter.usecases.resume_drip import Resumed, resume_drip
from mailement_newsletter.usecases.retry_failed_runs import retry_failed_runs
from mailement_newsletter.usecases.show_drip import show_drip


@click.command()
@drip_argument
@brand_option
@json_option
@command
async def pause(drip_id: int, brand: str, *, as_json: bool) -> None:
    """Pause a drip: no step runs, everybody keeps the place; mail that is queued already leaves."""
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            await pause_drip(connection, owner, drip)
            show_one(report_row(await show_drip(connection, owner, drip)), as_json=as_json)


@click.command()
@drip_argument
@brand_option
@click.option("--dry-run", is_flag=True, help="Only tell what would happen.")
@json_option
@command
async def resume(drip_id: int, brand: str, *, dry_run: bool, as_json: bool) -> None:
    """Let a paused drip go on, and tell what that does to those who have fallen behind."""
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            resumed = await resume_drip(connection, owner, drip, dry_run=dry_run)
            state = (await show_drip(connection, owner, drip)).state
    if as_json:
        click.echo(to_json({"id": drip_id, "state": state, **asdict(resumed)}))
        return
    say_all([f"Drip {drip_id} is {state}.", *resumed_in_words(resumed, state)])


def resumed_in_words(resumed: Resumed, state: DripState) -> list[str]:
    if resumed.was is DripState.LIVE or not resumed.overdue:
        return ["Nobody has fallen behind."] if not resumed.overdue else []
    has = "has" if resumed.overdue == 1 else "have" if resumed.is_exact else "or more have"
    behind = f"{resumed.overdue:,} {has} fallen behind"
    will = "would" if state is DripState.PAUSED else "will"
    if resumed.catch_up is CatchUp.SKIP:
        return [f"{behind}: mails among the overdue steps {will} be left out, later ones keep their dates."]
    pace = f", at most {resumed.max_per_hour:,} mails an hour" if resumed.max_per_hour else ""
    return [f"{behind}: the overdue steps {will} run now{pace}, and later ones follow from there."]


@click.command()
@drip_argument
@brand_option
@json_option
@command
async def archive(drip_id: int, brand: str, *, as_json: bool) -> None:
    """Archive a drip, for good: nothing of it runs any more, its history stays."""
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            await archive_drip(connection, owner, drip)
            show_one(report_row(await show_drip(connection, owner, drip)), as_json=as_json)


@click.command()
@drip_argument
@brand_option
@json_option
@command
async def retry(drip_id: int, brand: str, *, as_json: bool) -> None:
    """Let all failed runs of a drip go on where they failed, now."""
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            retried = await retry_failed_runs(connection, owner, drip)
    show_one({"id": drip_id, "retried": retried}, as_json=as_json)
