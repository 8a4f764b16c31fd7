"""Folders of local servers: one owner at a time, and a short name for what cannot bear a path."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from mailement_cli.local.errors import FolderInUse


def folder_tag(folder: Path) -> str:
    """Twelve hexadecimal digits that differ from folder to folder."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


class FolderLock:
    """Holds a folder for this process; the system lets go of it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def take(self) -> None:
        """Raises FolderInUse, with the pid of the holder, if another process has it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        held = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(held, 32).decode().strip()
            os.close(held)
            raise FolderInUse(self._folder, holder) from None
        os.ftruncate(held, 0)
        os.write(held, f"{os.getpid()}\n".encode())
        self._file = held

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
