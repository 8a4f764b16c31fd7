"""The database's schema: one ordered folder of migrations for the whole suite, because there is one database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MIGRATIONS: Final = Path(__file__).parent / "migrations"
