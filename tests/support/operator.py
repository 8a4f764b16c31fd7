"""An operator who types commands, in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from click.testing import CliRunner, Result

from mailement_cli.__main__ import main
from mailement_common.sealing import new_key
from tests.support.database import Database


def operators_environment(database: Database | None = None) -> dict[str, str]:
    """Without a database, nothing listens where it should be; there is never a broker."""
    return {
        "DATABASE_URL": database.url if database else "postgresql://127.0.0.1:9/letters",
        "AMQP_URL": "amqp://127.0.0.1:9/",
        "MAILEMENT_SECRET_KEYS": new_key("test"),
        "MAILEMENT_WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    }


class Operator:
    """Types commands; an answer in JSON comes back as what it means."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def type(self, *words: str, given: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, words, input=given, env=self.environment)

    def get(self, *words: str) -> Any:
        result = self.type(*words, "--json")
        assert result.exit_code == 0, result.output or repr(result.exception)
        return orjson.loads(result.stdout)

    def read(self, *words: str) -> str:
        """What a person gets."""
        result = self.type(*words)
        assert result.exit_code == 0, result.output or repr(result.exception)
        return result.stdout

    def fail(self, *words: str, given: str | None = None) -> str:
        """The one line that says why not."""
        result = self.type(*words, given=given)
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        return line.removeprefix("mailement: ")


class OperatorBeside:
    """The same, for tests that have an event loop of their own: the commands bring theirs."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    @property
    def environment(self) -> dict[str, str]:
        return self._operator.environment

    async def type(self, *words: str, given: str | bytes | None = None) -> Result:
        return await asyncio.to_thread(self._operator.type, *words, given=given)

    async def get(self, *words: str) -> Any:
        return await asyncio.to_thread(self._operator.get, *words)

    async def read(self, *words: str) -> str:
        return await asyncio.to_thread(self._operator.read, *words)

    async def fail(self, *words: str) -> str:
        return await asyncio.to_thread(self._operator.fail, *words)
