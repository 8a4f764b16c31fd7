from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailement_cli.local.errors import FolderInUse
from mailement_cli.local.folders import FolderLock

HOLD = """
import sys
from pathlib import Path
from mailement_cli.local.folders import FolderLock

FolderLock(Path(sys.argv[1])).take()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_that_is_held_names_its_holder(tmp_path: Path) -> None:
    holder = FolderLock(tmp_path)
    holder.take()

    with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
        FolderLock(tmp_path).take()
    holder.release()

    again = FolderLock(tmp_path)
    again.take()
    again.release()


def test_a_killed_holder_holds_no_longer(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait()

    lock = FolderLock(tmp_path)
    lock.take()
    lock.release()
