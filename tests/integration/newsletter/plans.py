"""What the planner makes of a query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from mailement_common.db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """`part`: the common table expression that it belongs to; empty for the statement's own part."""

    kind: str
    table: str
    index: str | None
    part: str


async def scans(connection: Connection, query: str, *arguments: Any, generic: bool) -> list[Scan]:
    """How the query reaches its tables, planned for these arguments or, as after some runs, for any."""
    mode = "force_generic_plan" if generic else "force_custom_plan"
    statement = await connection.prepare(query, name="explained")
    types = [parameter.name for parameter in statement.get_parameters()]
    literals = [_literal(argument, kind) for argument, kind in zip(arguments, types, strict=True)]
    given = await connection.fetchval(
        "SELECT string_agg(quote_nullable(x), ', ' ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS u (x, n)",
        literals,
    )
    async with connection.transaction():
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        call = f"explained({given})" if types else "explained"
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {call}")
    return list(_scans(orjson.loads(plan)[0]["Plan"]))


def _literal(argument: Any, kind: str) -> str | None:
    if argument is None:
        return None
    if kind == "jsonb":
        return orjson.dumps(argument).decode()
    if isinstance(argument, (list, tuple)):
        return "{" + ",".join(map(str, argument)) + "}"
    return str(argument)


def _scans(node: dict[str, Any], part: str = "") -> Iterator[Scan]:
    part = node.get("Subplan Name", part).removeprefix("CTE ")
    if node["Node Type"].endswith("Scan") and ("Relation Name" in node or "Index Name" in node):
        yield Scan(
            kind=node["Node Type"],
            table=node.get("Relation Name", ""),
            index=node.get("Index Name"),
            part=part,
        )
    for inner in node.get("Plans", []):
        yield from _scans(inner, part)
