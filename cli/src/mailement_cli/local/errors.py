"""Why a local server is not there. All are LocalServerError; the message is for the person at the terminal."""

from __future__ import annotations

from pathlib import Path


class LocalServerError(Exception):
    """A local server could not be had."""


class FolderInUse(LocalServerError):
    """Another process runs its servers in this folder."""

    def __init__(self, folder: Path, pid: str) -> None:
        super().__init__(f"the servers in {folder} belong to process {pid or 'unknown'}, which still runs")
        self.folder = folder
        self.pid = pid


class NoServerToRun(LocalServerError):
    """Neither a URL, nor programs, nor a Docker engine."""

    def __init__(self, server: str, variable: str) -> None:
        super().__init__(
            f"no {server}: {variable} is not set, no programs of a version new enough are installed, "
            "and no Docker engine answers (tools/setup.py --servers installs them on Debian)"
        )
        self.server = server


class ServerDidNotStart(LocalServerError):
    """The server ended, or was not ready in time; the message carries the end of its log."""

    def __init__(self, server: str, reason: str, log: str) -> None:
        super().__init__(f"{server} did not start: {reason}\n{log}".rstrip())
        self.server = server


class NotOurs(LocalServerError):
    """The server was given by a URL, so it is not ours to stop or to kill."""

    def __init__(self, url_variable: str) -> None:
        super().__init__(f"the server that {url_variable} names is not ours to end")
