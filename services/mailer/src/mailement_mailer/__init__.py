"""Renders the ledger's messages and hands them to a mail provider."""

from __future__ import annotations

from mailement_mailer.service import Mailer
from mailement_mailer.settings import MailerSettings

__all__ = ["Mailer", "MailerSettings"]
