"""Refusals, as facts in our words; each dialect translates them at its door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class Refusal(Exception):
    """A command cannot be carried out, and nothing was changed."""


class InvalidEmail(Refusal):
    """The address is not one that mail can be sent to."""


class EmailTooLong(Refusal):
    """The address has more characters than the column takes."""


class BrandNotFound(Refusal):
    """There is no such brand, or it has been deleted."""


class SubscriberNotFound(Refusal):
    """The brand has no such subscriber."""


class DripNotFound(Refusal):
    """The brand has no such drip."""


class CannotEnroll(Refusal):
    """The drip or the subscriber is in a state that allows no enrolment; `reason` says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidName(Refusal):
    """Something cannot be called so; the message says what is allowed."""


class InvalidSetting(Refusal):
    """Something cannot be set up so; the message says what is allowed."""


class AlreadyExists(Refusal):
    """Something of this name is there already."""


class NotFound(Refusal):
    """An operator named something that is not there."""


class RunNotFound(Refusal):
    """The brand has no such run."""


class VersionConflict(Refusal):
    """Somebody else has changed it since it was read; `version` is the one that it has now."""

    def __init__(self, version: int) -> None:
        super().__init__(f"it has been changed since: it is at version {version} now")
        self.version = version


class DripArchived(Refusal):
    """An archived drip stays as it is."""


class DripIsADraft(Refusal):
    """A draft has never been live: there is nothing to pause or to resume."""


class DripIsRespaced(Refusal):
    """An edit has moved the drip's steps, and its runs are still being moved along: until then it stays paused."""


class BadCursor(Refusal):
    """The cursor is not one that came with a page of this list."""


@dataclass(frozen=True, slots=True)
class DripFault:
    """`at`: where in the description, as in `steps.2.condition.then`; empty: the whole of it."""

    at: str
    message: str


class InvalidDrip(Refusal):
    """A description that is no drip, with everything that is wrong with it."""

    def __init__(self, faults: Sequence[DripFault]) -> None:
        super().__init__(
            "; ".join(f"{fault.at}: {fault.message}" if fault.at else fault.message for fault in faults)
        )
        self.faults = tuple(faults)


class TooBusy(Refusal):
    """Other drips' mails are being tried at this moment; nothing was changed, try again in some seconds."""


class MessageNotFound(Refusal):
    """The brand has no such message."""


class MessageCannotBeRetried(Refusal):
    """Only a message that has failed or is uncertain can; `state` says what this one is."""

    def __init__(self, state: str) -> None:
        super().__init__(f"a message that is {state} cannot be retried, only one that is failed or uncertain")
        self.state = state
