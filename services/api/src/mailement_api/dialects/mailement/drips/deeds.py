"""Deeds on a brand's drips and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import asyncpg

from mailement_api.dialects.mailement import resource
from mailement_api.dialects.mailement.drips import requests, responses
from mailement_api.dialects.mailement.errors import WireError
from mailement_api.dialects.mailement.query import cursor_of, id_cursor_of, limit_of, moment_of, word_of
from mailement_api.dialects.mailement.resource import Call
from mailement_api.keys import KeyCache
from mailement_common.clock import Clock
from mailement_newsletter.ids import DripId, RunId
from mailement_newsletter.rules.drip_definition import DripState, read_definition
from mailement_newsletter.rules.drip_runs import RunState
from mailement_newsletter.usecases.archive_drip import archive_drip
from mailement_newsletter.usecases.create_drip import create_drip
from mailement_newsletter.usecases.drip_changes import EditDrip
from mailement_newsletter.usecases.drip_stats import drip_stats
from mailement_newsletter.usecases.drip_writes import Saved
from mailement_newsletter.usecases.edit_drip import edit_drip
from mailement_newsletter.usecases.exit_run import exit_run
from mailement_newsletter.usecases.explain_run import explain_run
from mailement_newsletter.usecases.list_drips import list_drips
from mailement_newsletter.usecases.list_runs import list_runs
from mailement_newsletter.usecases.list_runs_of_subscriber import list_runs_of_subscriber
from mailement_newsletter.usecases.pause_drip import pause_drip
from mailement_newsletter.usecases.preview_edit import preview_edit
from mailement_newsletter.usecases.report_event import report_event
from mailement_newsletter.usecases.resume_drip import resume_drip
from mailement_newsletter.usecases.retry_failed_runs import retry_failed_runs
from mailement_newsletter.usecases.show_drip import show_drip
from mailement_newsletter.usecases.show_run import show_run
from mailement_newsletter.usecases.simulate_drip import simulate_drip


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """`wake`: called when an event has been committed. `max_body_bytes`: of whatever is no definition."""

    pool: asyncpg.Pool
    keys: KeyCache
    clock: Clock
    wake: Callable[[], None]
    max_body_bytes: int


Deed = resource.Deed[Deps]


async def list_(deps: Deps, call: Call) -> Mapping[str, object]:
    after = id_cursor_of(call.query)
    return responses.page(
        await list_drips(
            deps.pool,
            call.brand,
            state=word_of(call.query, "state", DripState),
            after=None if after is None else DripId(after),
            limit=limit_of(call.query),
        )
    )


async def create(deps: Deps, call: Call) -> Mapping[str, object]:
    definition = read_definition(call.document)
    saved = await create_drip(deps.pool, call.brand, definition)
    call.note(drip_id=saved.id)
    return await _saved(deps, call, saved)


async def show(deps: Deps, call: Call) -> Mapping[str, object]:
    return {"drip": responses.report(await show_drip(deps.pool, call.brand, _drip_id(call)))}


async def replace(deps: Deps, call: Call) -> Mapping[str, object]:
    return await _edit(deps, call, is_patch=False)


async def change(deps: Deps, call: Call) -> Mapping[str, object]:
    return await _edit(deps, call, is_patch=True)


async def preview(deps: Deps, call: Call) -> Mapping[str, object]:
    is_patch = not requests.flag_of(call.query.get("replace"), "replace")
    edit = EditDrip(brand_id=call.brand, drip_id=_drip_id(call), described=call.document, is_patch=is_patch)
    return {"preview": responses.preview(await preview_edit(deps.pool, edit, now=deps.clock.now()))}


async def pause(deps: Deps, call: Call) -> Mapping[str, object]:
    await pause_drip(deps.pool, call.brand, _drip_id(call))
    return await show(deps, call)


async def resume(deps: Deps, call: Call) -> Mapping[str, object]:
    dry_run = requests.flag_of(call.document.get("dry_run"), "dry_run")
    resumed = await resume_drip(deps.pool, call.brand, _drip_id(call), dry_run=dry_run)
    return {"resumed": responses.resumed(resumed), **await show(deps, call)}


async def archive(deps: Deps, call: Call) -> Mapping[str, object]:
    await archive_drip(deps.pool, call.brand, _drip_id(call))
    return await show(deps, call)


async def retry(deps: Deps, call: Call) -> Mapping[str, object]:
    retried = await retry_failed_runs(deps.pool, call.brand, _drip_id(call))
    call.note(retried=retried)
    return {"retried": retried}


async def runs(deps: Deps, call: Call) -> Mapping[str, object]:
    return responses.runs(
        await list_runs(
            deps.pool,
            call.brand,
            _drip_id(call),
            state=word_of(call.query, "state", RunState),
            who=requests.subscriber_of(call.query),
            limit=limit_of(call.query),
            cursor=cursor_of(call.query),
        )
    )


async def stats(deps: Deps, call: Call) -> Mapping[str, object]:
    return {"stats": responses.stats(await drip_stats(deps.pool, call.brand, _drip_id(call)))}


async def simulate(deps: Deps, call: Call) -> Mapping[str, object]:
    whom = requests.subscriber_of(call.query) or requests.somebody_of(call.query)
    since = moment_of(call.query, "from") or deps.clock.now()
    found = await simulate_drip(deps.pool, call.brand, _drip_id(call), whom, since=since)
    return {"simulation": responses.simulation(found)}


async def runs_of_subscriber(deps: Deps, call: Call) -> Mapping[str, object]:
    who = requests.subscriber_of(call.query)
    if who is None:
        raise WireError("invalid_subscriber")
    before = id_cursor_of(call.query)
    return responses.runs(
        await list_runs_of_subscriber(
            deps.pool,
            call.brand,
            who,
            limit=limit_of(call.query),
            before=None if before is None else RunId(before),
        )
    )


async def show_one_run(deps: Deps, call: Call) -> Mapping[str, object]:
    return responses.run(await show_run(deps.pool, call.brand, _run_id(call)))


async def explain(deps: Deps, call: Call) -> Mapping[str, object]:
    found = await explain_run(deps.pool, call.brand, _run_id(call), now=deps.clock.now())
    return {"explanation": responses.explanation(found)}


async def exit_one_run(deps: Deps, call: Call) -> Mapping[str, object]:
    ended = await exit_run(deps.pool, call.brand, _run_id(call))
    call.note(ended=ended)
    return await show_one_run(deps, call)


async def report(deps: Deps, call: Call) -> Mapping[str, object]:
    reported = await report_event(deps.pool, requests.parse_event(call.brand, call.document, call.trace))
    call.note(subscriber_id=reported.subscriber_id)
    deps.wake()
    return responses.reported(reported)


async def _edit(deps: Deps, call: Call, *, is_patch: bool) -> Mapping[str, object]:
    edit = EditDrip(brand_id=call.brand, drip_id=_drip_id(call), described=call.document, is_patch=is_patch)
    return await _saved(deps, call, await edit_drip(deps.pool, edit))


async def _saved(deps: Deps, call: Call, saved: Saved) -> Mapping[str, object]:
    drip = responses.report(await show_drip(deps.pool, call.brand, saved.id))
    return {"drip": drip, "warnings": responses.warned(saved.warnings)}


def _drip_id(call: Call) -> DripId:
    drip = requests.drip_id_in(call.id)
    call.note(drip_id=drip)
    return drip


def _run_id(call: Call) -> RunId:
    run = requests.run_id_in(call.id)
    call.note(run_id=run)
    return run
