"""How long providers know an idempotency key again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

# Resend keeps a key for 24 hours; the last attempt has to arrive before that.
RESEND_KEPT: Final = timedelta(hours=23)
# The file is named by the key.
FILE_KEPT: Final = timedelta(days=36_500)

# Those that are not named know none.
KEPT: Final[Mapping[str, timedelta]] = {"resend": RESEND_KEPT, "file": FILE_KEPT}
