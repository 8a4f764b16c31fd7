"""Mails are composed in a thread, as many as it gets done in a moment, so that a template may take its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_mailer.compose import CannotCompose, Composer
from mailement_mailer.providers.port import RenderedMail
from mailement_mailer.routes import Route
from mailement_mailer.settle import put_off, refused
from mailement_newsletter.queries.messages import Claimed, Fate, StepContent

# One visit to the thread: many quick templates, or one that is slow.
_VISIT_SECONDS: Final = 0.05
_VISIT_MAILS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a mail is to be made of."""

    message: Claimed
    content: StepContent | None
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A draft and the mail that became of it, or what becomes of the message instead."""

    draft: Draft
    mail: RenderedMail | Fate


async def composed(
    composer: Composer, drafts: Sequence[Draft], *, now: Callable[[], datetime], budget: float
) -> AsyncIterator[Sequence[Composed]]:
    """The mails, some at a time, in their order; nothing more once `budget` seconds are used up."""
    done = 0
    used = 0.0
    while done < len(drafts) and used < budget:
        began = time.monotonic()
        some = await asyncio.to_thread(_compose_some, composer, drafts[done : done + _VISIT_MAILS], now())
        used += time.monotonic() - began
        done += len(some)
        yield some


def _compose_some(composer: Composer, drafts: Sequence[Draft], now: datetime) -> list[Composed]:
    """At least one, and no more when the moment is over."""
    until = time.monotonic() + _VISIT_SECONDS
    results: list[Composed] = []
    for draft in drafts:
        results.append(Composed(draft=draft, mail=_compose(composer, draft, now)))
        if time.monotonic() >= until:
            break
    return results


def _compose(composer: Composer, draft: Draft, now: datetime) -> RenderedMail | Fate:
    try:
        return composer.compose(
            draft.message, draft.content, now, sender=draft.route.mailbox, reply_to=draft.route.reply_to
        )
    except CannotCompose as fault:
        return refused(draft.message, str(fault), now=now)
    except Exception as error:  # noqa: BLE001  a defect of ours: the next release may render what this cannot
        return put_off(draft.message, f"composing broke: {type(error).__name__}: {error}", now=now)
