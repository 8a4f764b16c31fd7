"""`mailement drip create|list|show|edit|preview`: what a drip is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, TextIO

import click
import yaml

from mailement_cli.commands.drip.drawing import Canvas, draw
from mailement_cli.commands.drip.options import (
    brand_of,
    drip_argument,
    naming,
    report_row,
    say_all,
    step_rows,
    summary_row,
    warn,
)
from mailement_cli.drip_file import in_the_file, read_description, read_drip
from mailement_cli.output import show_one, to_json
from mailement_cli.pages import id_cursor_option, limit_option, show_page
from mailement_cli.session import brand_option, command, json_option
from mailement_common.clock import SystemClock
from mailement_newsletter.errors import InvalidDrip
from mailement_newsletter.ids import DripId
from mailement_newsletter.rules.drip_definition import DripState, describe
from mailement_newsletter.usecases.create_drip import create_drip
from mailement_newsletter.usecases.drip_changes import EditDrip
from mailement_newsletter.usecases.edit_drip import edit_drip
from mailement_newsletter.usecases.list_drips import list_drips
from mailement_newsletter.usecases.preview_edit import EditPreview, preview_edit
from mailement_newsletter.usecases.show_drip import show_drip

_COLUMNS: Final = ("id", "name", "state", "trigger", "starts_by", "active", "completed", "exited")

_file_option: Final = click.option(
    "--file",
    "description",
    required=True,
    type=click.File(encoding="utf-8"),
    help="The drip in YAML; - is the input.",
)


@click.command()
@brand_option
@_file_option
@json_option
@command
async def create(brand: str, description: TextIO, *, as_json: bool) -> None:
    """Create a drip from a YAML file (docs/drips.md has the format)."""
    described = read_drip(description.read())
    async with brand_of(brand) as (connection, owner):
        try:
            saved = await create_drip(connection, owner, described)
        except InvalidDrip as error:
            raise in_the_file(error) from None
        report = await show_drip(connection, owner, saved.id)
    warn(saved.warnings)
    show_one(report_row(report), as_json=as_json)


@click.command("list")
@brand_option
@click.option("--state", type=click.Choice([state.value for state in DripState]))
@id_cursor_option
@limit_option
@json_option
@command
async def list_(brand: str, state: str | None, cursor: int | None, limit: int, *, as_json: bool) -> None:
    """List a brand's drips, the oldest first."""
    async with brand_of(brand) as (connection, owner):
        page = await list_drips(
            connection,
            owner,
            state=DripState(state) if state else None,
            after=None if cursor is None else DripId(cursor),
            limit=limit,
        )
    rows = [summary_row(drip) for drip in page.drips]
    show_page((rows, page.cursor), as_json=as_json, columns=_COLUMNS)


@click.command()
@drip_argument
@brand_option
@click.option("--yaml", "as_yaml", is_flag=True, help="As a file that `edit` takes.")
@json_option
@command
async def show(drip_id: int, brand: str, *, as_yaml: bool, as_json: bool) -> None:
    """Draw a drip with its numbers: what ran, what was sent and opened, who waits where."""
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            report = await show_drip(connection, owner, drip)
    if as_yaml:
        click.echo(to_yaml(describe(report.definition)), nl=False)
    elif as_json:
        body = {
            **report_row(report),
            "definition": describe(report.definition),
            "steps": step_rows(report),
            "waiting_is_exact": report.waiting_is_exact,
            "work": [asdict(work) for work in report.work],
        }
        click.echo(to_json(body))
    else:
        for line in draw(report, _canvas()):
            click.echo(line)


@click.command()
@drip_argument
@brand_option
@_file_option
@json_option
@command
async def edit(drip_id: int, brand: str, description: TextIO, *, as_json: bool) -> None:
    """Give a drip another definition, under those who are in it. `drip show --yaml` writes the one that it has.

    Steps are known by their id or label. With `version` in the file, an edit that somebody else was faster with is refused.
    """
    described = read_description(description.read())
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            try:
                saved = await edit_drip(
                    connection, EditDrip(brand_id=owner, drip_id=drip, described=described)
                )
            except InvalidDrip as error:
                raise in_the_file(error) from None
            report = await show_drip(connection, owner, drip)
    warn(saved.warnings)
    show_one(report_row(report), as_json=as_json)


@click.command()
@drip_argument
@brand_option
@_file_option
@json_option
@command
async def preview(drip_id: int, brand: str, description: TextIO, *, as_json: bool) -> None:
    """Tell what an edit would do to those who are in the drip. Nothing is changed."""
    described = read_description(description.read())
    async with brand_of(brand) as (connection, owner):
        with naming(drip_id) as drip:
            try:
                seen = await preview_edit(
                    connection,
                    EditDrip(brand_id=owner, drip_id=drip, described=described),
                    now=SystemClock().now(),
                )
            except InvalidDrip as error:
                raise in_the_file(error) from None
    warn(seen.warnings)
    if as_json:
        click.echo(to_json(asdict(seen)))
    else:
        say_all(preview_in_words(seen))


def preview_in_words(seen: EditPreview) -> list[str]:
    about = "" if seen.is_exact else "about "
    sentences = [
        f"Steps: {seen.steps_kept} stay, {seen.steps_moved} move, {seen.steps_added} come in, {seen.steps_deleted} go."
    ]
    if not seen.moved and not seen.other_step:
        return [*sentences, f"Of {seen.active:,} people in the drip nobody gets another time or step."]
    sentences.append(
        f"This moves {about}{seen.moved:,} of {seen.active:,} people: {seen.earlier:,} to an earlier time, {seen.later:,} to a "
        f"later one; for {about}{seen.within_the_hour:,} the next step is due within the hour."
    )
    if seen.other_step:
        sentences.append(f"For {about}{seen.other_step:,} another step comes next.")
    if seen.completing:
        sentences.append(f"For {about}{seen.completing:,} no step is left: they come to the end.")
    if not seen.is_exact:
        sentences.append("The numbers are reckoned from a sample.")
    return sentences


def to_yaml(described: Mapping[str, Any]) -> str:
    """So that a person likes to edit it: in the order of the format, text of several lines as a block."""
    text: str = yaml.dump(
        dict(described),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=110,
    )
    return text


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _canvas() -> Canvas:
    return Canvas(
        width=min(shutil.get_terminal_size((100, 24)).columns, 110),
        is_unicode=(sys.stdout.encoding or "").lower().replace("-", "") == "utf8",
        has_colours=sys.stdout.isatty(),
    )
