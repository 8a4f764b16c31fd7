"""How a statement is told whom it is about."""

from __future__ import annotations

from typing import assert_never

from mailement_newsletter.commands import ByEmail, ById, Who


def identifiers(who: Who) -> tuple[str | None, int | None]:
    """`(email_key, subscriber_id)`, one of them None."""
    match who:
        case ByEmail(address=address):
            return address.key, None
        case ById(subscriber_id=subscriber_id):
            return None, subscriber_id
        case _:
            assert_never(who)
