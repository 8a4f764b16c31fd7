"""The Python environment in `.venv`: uv, the locked packages, and our own packages as they lie here."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from tools.steps import CommandFailedError, SetupError, run, say, step
from tools.system_packages import apt_get, can_use_apt, install

UV_VERSION = "0.13.9"
UV_FAMILY = "0.13."


def make_environment(root: Path, environ: Mapping[str, str]) -> None:
    """Bring `.venv` in line with the lock and the members, doing no more than has changed since its stamp."""
    venv = root / ".venv"
    stamp = venv / "setup-stamp"
    # A venv cannot be moved and does not follow its interpreter, so either makes a new one necessary.
    house = f"{root} {sys.version.split()[0]} {_python()}"
    members = _members(root)
    locked = root / "requirements-dev.lock"
    wanted = [house, _fingerprint([locked]), _fingerprint(member / "pyproject.toml" for member in members)]
    found = stamp.read_text().splitlines() if stamp.exists() else []
    if found == wanted:
        return
    uv = _uv(root, environ)
    uv_environ = {**environ, "UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": str(venv)} | _index_of_pip(
        environ
    )
    stamp.unlink(missing_ok=True)
    if found[:1] != wanted[:1]:
        with step(f"empty environment in .venv (Python {sys.version.split()[0]})"):
            _run_uv([uv, "venv", "--quiet", "--clear", "--force", "--python", _python(), venv], uv_environ)
    pip_options = ["--quiet", "--python", str(venv / "bin" / "python")]
    if found[:2] != wanted[:2]:
        with step("packages of requirements-dev.lock"):
            _run_uv([uv, "pip", "sync", *pip_options, "--require-hashes", locked], uv_environ)
    with step("our own packages, editable"):
        editables = [word for member in members for word in ("--editable", str(member))]
        _run_uv([uv, "pip", "install", *pip_options, "--no-deps", *editables], uv_environ)
    stamp.write_text("\n".join(wanted) + "\n")


def _python() -> str:
    """The interpreter that a new environment is made from, also when the old environment runs this."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _members(root: Path) -> list[Path]:
    projects = [*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")]
    return sorted(project.parent for project in [*projects, root / "cli" / "pyproject.toml"])


def _fingerprint(files: Iterable[Path]) -> str:
    told = hashlib.sha256()
    for path in files:
        told.update(str(path).encode())
        told.update(path.read_bytes())
    return told.hexdigest()


def _uv(root: Path, environ: Mapping[str, str]) -> Path:
    own = root / ".tools" / "uv" / "bin" / "uv"
    on_path = shutil.which("uv", path=environ.get("PATH"))
    for candidate in (str(own), on_path):
        if (
            candidate
            and os.access(candidate, os.X_OK)
            and run([candidate, "--version"]).startswith(f"uv {UV_FAMILY}")
        ):
            return Path(candidate)
    _have_pip(environ)
    with step(f"uv {UV_VERSION} in .tools"):
        target = root / ".tools" / "uv"
        shutil.rmtree(target, ignore_errors=True)
        try:
            run(
                [_python(), "-m", "pip", "install", "--quiet", "--target", target, f"uv=={UV_VERSION}"],
                environ,
            )
        except CommandFailedError as failure:
            raise SetupError(f"pip cannot get uv {UV_VERSION}:\n{failure.output.strip()}") from failure
    return own


def _have_pip(environ: Mapping[str, str]) -> None:
    if find_spec("pip") is not None:
        return
    if not can_use_apt(environ) or not _python().startswith("/usr/bin/"):
        raise SetupError(
            f"{_python()} has no pip, which set-up needs once. Debian, Ubuntu: apt install python3-pip; "
            "Fedora: dnf install python3-pip; elsewhere: python3 -m ensurepip"
        )
    with step("pip, from Debian's python3-pip"):
        apt_get(["update"], environ)
        install(["python3-pip"], environ)


def _run_uv(command: list[str | Path], environ: Mapping[str, str]) -> None:
    """Run uv; a certificate it does not know is looked for once more among the system's."""
    try:
        run(command, environ)
    except CommandFailedError as failure:
        if "UV_SYSTEM_CERTS" in environ or not re.search(r"certificate|UnknownIssuer", failure.output):
            raise SetupError(f"uv failed:\n{failure}") from failure
        say("uv met an unknown certificate; trying again with the system's")
        _run_uv(command, {**environ, "UV_SYSTEM_CERTS": "1"})


def _index_of_pip(environ: Mapping[str, str]) -> dict[str, str]:
    """The index of pip as uv's own setting: who told pip about a mirror meant uv as well."""
    if any(name in environ for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX")):
        return {}
    try:
        settings = run([_python(), "-m", "pip", "config", "list"], environ)
    except CommandFailedError:
        return {}  # an interpreter without pip has no settings of pip
    told = {}
    for scope in ("global", "install", ":env:"):
        for found in re.finditer(rf"^{scope}\.(index-url|extra-index-url)='(.+)'$", settings, re.MULTILINE):
            told[found[1]] = found[2].replace("\\n", " ").strip()
    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX"}
    return {names[option]: value for option, value in told.items()}
