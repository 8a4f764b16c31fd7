"""Create a drip: from a definition, with its steps, live or as a draft."""

from __future__ import annotations

from mailement_common.ids import BrandId
from mailement_newsletter.rules.drip_definition import DripDefinition, DripState, DripTrigger
from mailement_newsletter.rules.drip_edits import new_positions
from mailement_newsletter.rules.drip_storage import to_stored
from mailement_newsletter.usecases.drip_rows import Executor, transaction
from mailement_newsletter.usecases.drip_writes import (
    Saved,
    ask_for,
    check_definition,
    new_step_ids,
    write_drip,
    write_steps,
)


async def create_drip(executor: Executor, brand: BrandId, definition: DripDefinition) -> Saved:
    """Steps' ids in the definition count for nothing. Raises InvalidDrip (the name is taken, a topic or field is missing), TooBusy."""
    checked = await check_definition(executor, brand, definition)
    state = definition.state or DripState.LIVE
    async with transaction(executor) as connection:
        drip, version = await write_drip(connection, brand, None, definition, checked.topics, state)
        count = len(definition.steps)
        ids = await new_step_ids(connection, count)
        steps = to_stored(definition.steps, ids, new_positions(count), checked.topics)
        await write_steps(connection, drip, steps)
        if definition.trigger is DripTrigger.DATE:
            await ask_for(connection, drip, "plan_dates")
    return Saved(id=drip, version=version, warnings=checked.warnings)
