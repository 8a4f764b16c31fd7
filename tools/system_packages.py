"""Debian's packages, installed without starting what they would start."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.steps import CommandFailedError, SetupError, run, say

# Debian asks this program before a package starts its service; 101 means no.
_POLICY = Path("/usr/sbin/policy-rc.d")
_REFUSAL = "#!/bin/sh\n# put here by Mailement's set-up for the time of one installation\nexit 101\n"


def can_use_apt(environ: Mapping[str, str]) -> bool:
    """Whether this is a Debian or Ubuntu on which we are root or may become it."""
    if shutil.which("apt-get", path=environ.get("PATH")) is None:
        return False
    if os.geteuid() == 0:
        return True
    if shutil.which("sudo", path=environ.get("PATH")) is None:
        return False
    if sys.stdin.isatty():
        return True
    try:
        run(["sudo", "--non-interactive", "true"])
    except CommandFailedError:
        return False
    return True


def apt_get(words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run apt-get as root, waiting up to two minutes for another one to finish."""
    command = ["apt-get", "--yes", "--quiet", "-o", "DPkg::Lock::Timeout=120", *words]
    try:
        run(_as_root(["env", "DEBIAN_FRONTEND=noninteractive", *command]), environ)
    except CommandFailedError as failure:
        raise SetupError(f"apt-get {words[0]} failed:\n{failure.output.strip()}") from failure


def install(packages: Sequence[str], environ: Mapping[str, str]) -> None:
    apt_get(["install", "--no-install-recommends", *packages], environ)


@contextmanager
def no_service_starts() -> Iterator[None]:
    """Keep packages from starting their services, by a policy of our own unless the machine has one."""
    if _POLICY.exists():
        say(f"{_POLICY} of this machine decides whether packages start their services")
        yield
        return
    with tempfile.NamedTemporaryFile("w", suffix="-policy-rc.d") as draft:
        draft.write(_REFUSAL)
        draft.flush()
        run(_as_root(["install", "--mode", "755", draft.name, str(_POLICY)]))
    say(f"{_POLICY} keeps packages from starting their services meanwhile")
    try:
        yield
    finally:
        run(_as_root(["rm", "--force", str(_POLICY)]))
        say(f"{_POLICY} is removed again")


def _as_root(command: list[str]) -> list[str]:
    return command if os.geteuid() == 0 else ["sudo", *command]
