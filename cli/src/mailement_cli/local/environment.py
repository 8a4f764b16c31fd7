"""The environment of this process, for handing on to the servers."""

from __future__ import annotations

import os
from collections.abc import Mapping


def process_environment() -> Mapping[str, str]:
    """What child processes inherit; the only place of this package that looks."""
    return os.environ  # noqa: TID251 - handed on to children, not read as settings
