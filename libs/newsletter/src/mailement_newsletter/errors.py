"""Refusals, as facts in our words; each dialect translates them at its door."""

from __future__ import annotations


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
