"""Mail into a folder: one `.eml` file for each dedupe key, for development and tests."""

from __future__ import annotations

import asyncio
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mailement_mailer.providers import mime
from mailement_mailer.providers.port import Outcome, RenderedMail, RetryLater, Sent
from mailement_newsletter.rules.mail_keys import FILE_KEPT

_DISK_SECONDS: Final = 30


class FileProvider:
    name: Final = "file"
    idempotent_for: Final = FILE_KEPT

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, mail: RenderedMail) -> Outcome:
        """Sent once the file is on the disk; a key that has its file already is not written again."""
        try:
            return await asyncio.to_thread(self._write, mail)
        except OSError as error:
            reason = f"the folder cannot be written: {error.strerror}"
            return RetryLater(reason=reason, after=timedelta(seconds=_DISK_SECONDS), provider_wide=True)

    async def close(self) -> None:
        """Nothing is held open."""

    def _write(self, mail: RenderedMail) -> Sent:
        # No colon: some file systems and `docker cp` give it a meaning of their own.
        name = f"{quote(mail.key.replace(':', '.'), safe='')}.eml"
        target = self._folder / name
        if not target.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            _write_atomically(target, mime.build(mail))
        return Sent(provider_message_id=name)


def _write_atomically(target: Path, content: bytes) -> None:
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".draft")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).rename(target)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
