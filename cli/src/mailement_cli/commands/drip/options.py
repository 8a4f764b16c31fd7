"""What the commands on drips are told in the same words, and how they tell of one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Any, Final

import click

from mailement_cli.output import say
from mailement_cli.session import Fault, database
from mailement_common.db.pool import Connection
from mailement_common.ids import BrandId
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.errors import (
    DripArchived,
    DripFault,
    DripIsADraft,
    DripIsRespaced,
    DripNotFound,
    RunNotFound,
)
from mailement_newsletter.ids import DripId, RunId
from mailement_newsletter.rules.drip_definition import kind_of
from mailement_newsletter.usecases.list_drips import DripSummary
from mailement_newsletter.usecases.show_drip import DripReport

drip_argument: Final = click.argument("drip_id", metavar="ID", type=int)

run_argument: Final = click.argument("run_id", metavar="RUN", type=click.IntRange(1, 2**63 - 1))


@asynccontextmanager
async def brand_of(slug: str) -> AsyncIterator[tuple[Connection, BrandId]]:
    """A connection and the brand. Raises NotFound."""
    async with database() as connection:
        yield connection, (await find_brand(connection, slug)).id


@contextmanager
def naming(drip: int) -> Iterator[DripId]:
    """Refusals say which drip they are about."""
    if not 0 < drip < 2**63:
        raise Fault(f"the brand has no drip {drip}")
    try:
        yield DripId(drip)
    except DripNotFound:
        raise Fault(f"the brand has no drip {drip}") from None
    except DripArchived:
        raise Fault(f"drip {drip} is archived, and stays as it is") from None
    except DripIsADraft:
        raise Fault(f"drip {drip} is a draft: an edit with `state: live` lets it begin") from None
    except DripIsRespaced:
        raise Fault(
            f"an edit has moved the steps of drip {drip}, and its runs are still being moved along: try again later"
        ) from None


@contextmanager
def naming_run(run: int) -> Iterator[RunId]:
    """Refusals say which run they are about."""
    try:
        yield RunId(run)
    except RunNotFound:
        raise Fault(f"the brand has no run {run}") from None


def warn(warnings: Sequence[DripFault]) -> None:
    for warning in warnings:
        click.echo(f"mailement: note: {warning.at}: {warning.message}", err=True)


def summary_row(drip: DripSummary) -> dict[str, Any]:
    """A drip with its numbers, flat."""
    row = asdict(drip)
    return {**{name: value for name, value in row.items() if name != "numbers"}, **row["numbers"]}


def report_row(report: DripReport) -> dict[str, Any]:
    """The same of one drip, for a table or JSON."""
    definition = report.definition
    return {
        "id": report.id,
        "name": definition.name,
        "state": report.state,
        "trigger": definition.trigger,
        "starts_by": definition.topic or definition.event or definition.field,
        "steps": len(definition.steps),
        "version": report.version,
        **asdict(report.numbers),
        "created_at": report.created_at,
        "updated_at": report.updated_at,
    }


def step_rows(report: DripReport) -> list[dict[str, Any]]:
    """The steps with their numbers; `delay` in seconds in JSON."""
    return [
        {
            "id": step.id,
            "number": number,
            "label": step.label,
            "kind": kind_of(step.action),
            "delay": step.delay,
            "subject": getattr(step.action, "subject", None),
            **asdict(numbers),
        }
        for number, (step, numbers) in enumerate(
            zip(report.definition.steps, report.steps, strict=True), start=1
        )
    ]


def say_all(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        say(sentence)
