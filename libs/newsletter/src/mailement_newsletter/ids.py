"""Identifiers of the newsletter's tables."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

DripId = NewType("DripId", int)
StepId = NewType("StepId", int)
# A run is one subscriber's way through a drip: a row of drip_enrollments.
RunId = NewType("RunId", int)
TopicId = NewType("TopicId", int)
MessageId = NewType("MessageId", int)
# Mails that went out in one request.
BatchId = NewType("BatchId", UUID)
