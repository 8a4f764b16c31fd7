"""The families of paths that are ours, each as what the tests of every call need of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import orjson
from hypothesis import strategies as st

from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import Tenant

API = "/api/v1"
# Of a body, where a family or a path has no other.
MOST_BYTES = 65_536

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller(ABC):
    """A brand's calls below `BASE`; `get`, `post`, `put`, `patch` and `delete` are good ones."""

    BASE: ClassVar[str] = API

    api: ApiUnderTest
    brand: Tenant
    key: str

    @classmethod
    @abstractmethod
    async def of(cls, api: ApiUnderTest, brand: Tenant) -> Self:
        """With a key that may do everything here."""

    @abstractmethod
    async def furnish(self, path: str = "") -> Mapping[str, int]:
        """Makes something that each path can be about, and what this one needs besides: ids by the nouns in the paths."""

    @abstractmethod
    async def whisper(self) -> Sequence[str]:
        """Sends `geheim` wherever it can; returns what else is not to be told."""

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        key: str | None = None,
    ) -> Answer:
        return await self.api.request(
            method,
            self.BASE + path,
            raw=raw if body is None else orjson.dumps(body),
            key=key or self.key,
            headers={} if body is None else {"Content-Type": "application/json"},
        )

    async def get(self, path: str) -> Any:
        return self._good(await self.call("GET", path))

    async def post(self, path: str, body: object = None) -> Any:
        return self._good(await self.call("POST", path, body))

    async def put(self, path: str, body: object) -> Any:
        return self._good(await self.call("PUT", path, body))

    async def patch(self, path: str, body: object) -> Any:
        return self._good(await self.call("PATCH", path, body))

    async def delete(self, path: str) -> Any:
        return self._good(await self.call("DELETE", path))

    @staticmethod
    def _good(answer: Answer) -> Any:
        assert answer.status == 200, answer.raw
        assert answer.body["success"] is True
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers
        return answer.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """`methods`: of each path below `/api/v1`, `{id}` as in the documentation, in the order of the alphabet.

    `bodies`, `queries`: the least that a call takes. `tables`: all that calls could change; there is something in the first as soon as it is
    furnished. `fields`, `values`, `parameters`: what bodies and queries are made of by chance. `noted`: a field of the log's lines.
    """

    name: str
    caller: type[Caller]
    methods: Mapping[str, tuple[str, ...]]
    tables: tuple[str, ...]
    noted: str
    bodies: Mapping[tuple[str, str], Body] = field(default_factory=dict)
    queries: Mapping[str, str] = field(default_factory=dict)
    most_bytes: Mapping[str, int] = field(default_factory=dict)
    fields: Sequence[str] = ("a",)
    values: st.SearchStrategy[Any] = field(default_factory=st.none)
    parameters: Sequence[str] = ()

    @property
    def nouns(self) -> set[str]:
        return {path.split("/")[1] for path in self.methods}
