"""Named queries: SQL lives in `.sql` files beside the `.py` that runs it.

-- name: claim_due
-- Lock what is due; other replicas skip it.
SELECT …
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from typing_extensions import override

_NAME: Final = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\n", re.MULTILINE)


class NamedQueries(Mapping[str, str]):
    """The queries of one `.sql` file by their names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        parts = _NAME.split(path.read_text(encoding="utf-8"))[1:]
        self._queries: dict[str, str] = {}
        for name, body in zip(parts[::2], parts[1::2], strict=True):
            if name in self._queries:
                raise ValueError(f"{path.name} has two queries called {name}")
            self._queries[name] = body.strip().rstrip(";")

    @override
    def __getitem__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            raise LookupError(f"{self._path.name} has no query called {name}") from None

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    @override
    def __len__(self) -> int:
        return len(self._queries)


def queries_beside(python_file: str) -> NamedQueries:
    """The queries of the `.sql` file that shares the name of `python_file` (its `__file__`)."""
    return NamedQueries(Path(python_file).with_suffix(".sql"))
