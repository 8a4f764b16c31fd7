"""`mailement message`."""

from __future__ import annotations

import pytest

from tests.support.database import Database
from tests.support.ledger import Ledger, new_ledger
from tests.support.operator import Operator, OperatorBeside, operators_environment


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool)


@pytest.fixture
def operator(database: Database) -> OperatorBeside:
    return OperatorBeside(Operator(operators_environment(database)))


async def test_messages_are_listed_shown_and_retried(ledger: Ledger, operator: OperatorBeside) -> None:
    first, second = await ledger.messages(2)
    await ledger.pool.execute("UPDATE messages SET state = 'failed', error = '550 no' WHERE id = $1", first)

    listed = await operator.get("message", "list", "--brand", "acme")
    assert [message["id"] for message in listed] == [second, first]
    (failed,) = await operator.get("message", "list", "--brand", "acme", "--state", "failed")
    assert (failed["id"], failed["reason"]) == (first, "550 no")
    shown = await operator.get("message", "show", str(first), "--brand", "acme")
    assert (shown["message"]["state"], shown["attempts"]) == ("failed", [])

    retried = await operator.get("message", "retry", str(first), "--brand", "acme")
    assert retried == {"id": first, "retried": "anew"}
    assert await ledger.state(first) == "queued"


async def test_what_lies_behind_a_long_past_is_found_all_the_same(
    ledger: Ledger, operator: OperatorBeside
) -> None:
    (waiting,) = await ledger.messages(1)
    await ledger.pool.execute(
        """
        INSERT INTO messages (brand_id, subscriber_id, kind, dedupe_key, state)
        SELECT m.brand_id, m.subscriber_id, m.kind, 'later' || n, 'sent'
        FROM messages AS m, generate_series(1, 5001) AS n WHERE m.id = $1
        """,
        waiting,
    )
    listed = await operator.get("message", "list", "--brand", "acme", "--state", "queued")
    assert [message["id"] for message in listed] == [waiting]


async def test_what_cannot_be_done_is_said_in_a_line(ledger: Ledger, operator: OperatorBeside) -> None:
    (message,) = await ledger.messages(1)
    refused = await operator.fail("message", "retry", str(message), "--brand", "acme")
    assert refused == "a message that is queued cannot be retried, only one that is failed or uncertain"
    assert (
        await operator.fail("message", "show", "999", "--brand", "acme") == "The brand has no such message."
    )
    assert "no brand" in (await operator.fail("message", "list", "--brand", "nobody")).lower()


async def test_a_person_gets_a_table_and_the_way_to_the_next_page(
    ledger: Ledger, operator: OperatorBeside
) -> None:
    first, second = await ledger.messages(2)
    result = await operator.type("message", "list", "--brand", "acme", "--limit", "1")
    assert result.exit_code == 0
    assert result.stderr == f"there are more: --cursor {second}\n"
    following = await operator.read("message", "list", "--brand", "acme", "--cursor", str(second))
    assert following.splitlines()[1].split()[0] == str(first)
    assert "attempts" in await operator.read("message", "show", str(first), "--brand", "acme")
