"""`mailement drip`: timed series, who is in them, and what would become of a change."""

from __future__ import annotations

import click

from mailement_cli.commands.drip import definitions, people, states


@click.group()
def drip() -> None:
    """Drips: timed mail series."""


for entry in (
    *(definitions.create, definitions.list_, definitions.show, definitions.edit, definitions.preview),
    *(states.pause, states.resume, states.archive, states.retry),
    *(people.enroll, people.exit_),
    *(people.stats, people.runs, people.simulate, people.explain),
):
    drip.add_command(entry)
