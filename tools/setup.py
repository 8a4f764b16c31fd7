"""Set-up: `python3 tools/setup.py [--servers] [--bench]`, needing nothing but Python and its standard library."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python may well run this file
    sys.exit(
        f"setup: Mailement needs Python 3.11 or later, and {sys.executable} is {sys.version.split()[0]}. "
        "Install a newer one (Debian 12 has it as python3, Fedora and Homebrew as python3.11 or later) "
        "and name it: make PYTHON=python3.11 …"
    )

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "cli" / "src"))

from tools.environment import make_environment
from tools.servers import have_bench_tools, have_servers
from tools.steps import SetupError, say

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="setup", description="Make the development environment.")
    parser.add_argument(
        "--servers", action="store_true", help="see that PostgreSQL and RabbitMQ can be started"
    )
    parser.add_argument("--bench", action="store_true", help="see that the programs of the benches are there")
    wanted = parser.parse_args()
    environ = os.environ  # noqa: TID251 - set-up runs before there are settings
    try:
        with _alone():
            make_environment(ROOT, environ)
            if wanted.servers:
                have_servers(environ)
            if wanted.bench:
                have_bench_tools(environ)
    except SetupError as obstacle:
        print(f"setup: {obstacle}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def _alone() -> Iterator[None]:
    """Let one set-up of this folder run at a time; the others wait and then find the work done."""
    tools = ROOT / ".tools"
    tools.mkdir(exist_ok=True)
    with (tools / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
