from __future__ import annotations

import click
import pytest

from mailement_cli.__main__ import main

NOUNS = (
    *("account", "brand", "key", "topic", "field", "subscriber", "drip", "webhook"),
    *("sender", "mail-account", "dkim"),
)


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("verb", ["create", "list", "show"])
def test_every_noun_can_be_made_listed_and_shown_in_json(noun: str, verb: str) -> None:
    group = main.commands[noun]
    assert isinstance(group, click.Group)
    options = {option for parameter in group.commands[verb].params for option in parameter.opts}
    assert "--json" in options


def test_a_webhook_is_created_by_the_words_that_set_it() -> None:
    group = main.commands["webhook"]
    assert isinstance(group, click.Group)
    short, full = (
        {option for parameter in group.commands[verb].params for option in parameter.opts}
        for verb in ("set", "create")
    )

    # Of several, `set` has to be told which one is meant.
    assert short - {"--endpoint"} <= full
