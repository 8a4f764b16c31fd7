"""Remove what set-up and runs have made in this folder: private servers with their data, environment, tools."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cli" / "src"))

from mailement_cli.local.errors import FolderInUse
from mailement_cli.local.folders import FolderLock
from mailement_cli.local.processes import ProcessRecord, end

ROOT = Path(__file__).resolve().parent.parent
MADE = (".local", ".venv", ".tools")
# SIGQUIT is for a PostgreSQL that waits for its clients to leave.
_STOP = ((signal.SIGTERM, 5.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


def main() -> int:
    local = ROOT / ".local"
    try:
        for lock in sorted(local.rglob("lock")):
            FolderLock(lock.parent).take()
    except FolderInUse as obstacle:
        print(f"clean: {obstacle}", file=sys.stderr)
        return 1
    for path in local.rglob("running.json"):
        end(ProcessRecord(path=path).left_over(), _STOP)
    # Data that had to lie outside of this folder; see mailement_cli.local.postgres.
    for pointer in local.rglob("home"):
        if pointer.is_symlink():
            shutil.rmtree(pointer.resolve(), ignore_errors=True)
    for name in MADE:
        if (ROOT / name).exists():
            shutil.rmtree(ROOT / name)
            print(f"clean: removed {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
