"""`mailement sender`, `mailement mail-account` and `mailement dkim`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from mailement_common.sealing import new_key
from tests.support.database import Database
from tests.support.operator import Operator, OperatorBeside, operators_environment

SECRET = "hunter2-hunter2"
RELAY = ("mail-account", "create", "--name", "relay", "--provider", "smtp", "--host", "relay.example")


@pytest.fixture
async def operator(database: Database) -> OperatorBeside:
    operator = OperatorBeside(Operator(operators_environment(database)))
    await operator.get("brand", "create", "--slug", "acme", "--name", "Acme", "--opt-in", "single")
    return operator


async def sender(operator: OperatorBeside, *words: str, address: str = "news@acme.example") -> Any:
    return await operator.get("sender", "create", "--brand", "acme", "--address", address, *words)


async def refused(operator: OperatorBeside, *words: str, given: str | None = None) -> str:
    """The complaint about usage."""
    result = await operator.type(*words, given=given)
    assert result.exit_code == 2, result.output
    return result.stderr


async def relay(operator: OperatorBeside, *words: str) -> Any:
    made = await operator.type(*RELAY, "--user", "acme", *words, "--json", given=f"{SECRET}\n")
    assert made.exit_code == 0, made.output
    assert SECRET not in made.output
    return orjson.loads(made.stdout)


async def test_a_sender_is_created_with_the_brands_name_and_for_every_kind_of_mail(
    operator: OperatorBeside,
) -> None:
    made = await sender(operator)

    assert made == await operator.get("sender", "show", str(made["id"]))
    assert {key: made[key] for key in ("brand", "name", "address", "kinds", "rank", "state")} == {
        "brand": "acme",
        "name": "Acme",
        "address": "news@acme.example",
        "kinds": ["campaign", "drip", "transactional"],
        "rank": 0,
        "state": "active",
    }
    assert (made["mail_account"], made["daily_limit"], made["warmup"]) == (None, None, "none")


async def test_a_sender_takes_everything_that_can_be_said_of_it(operator: OperatorBeside) -> None:
    await relay(operator)
    made = await sender(
        operator,
        *(
            "--name",
            "Ada",
            "--reply-to",
            "ada@acme.example",
            "--kinds",
            "drip, campaign",
            "--account",
            "relay",
        ),
        *("--rank", "2", "--daily-limit", "40", "--warmup", "slow"),
    )

    assert made["kinds"] == ["campaign", "drip"]
    assert (made["name"], made["reply_to"], made["mail_account"]) == ("Ada", "ada@acme.example", "relay")
    assert (made["rank"], made["daily_limit"], made["warmup"], made["warmup_limit"]) == (2, 40, "slow", 5)


async def test_senders_are_listed_in_the_order_in_which_they_take_over(operator: OperatorBeside) -> None:
    await operator.get("brand", "create", "--slug", "other", "--name", "Other", "--opt-in", "single")
    await sender(operator, "--rank", "1", address="b@acme.example")
    await sender(operator, address="a@acme.example")

    listed = await operator.get("sender", "list", "--brand", "acme")

    assert [found["address"] for found in listed] == ["a@acme.example", "b@acme.example"]
    assert await operator.get("sender", "list", "--brand", "other") == []
    assert "b@acme.example" in await operator.read("sender", "list")


async def test_only_what_is_given_of_a_sender_changes_and_none_takes_away(operator: OperatorBeside) -> None:
    made = await sender(operator, "--reply-to", "ada@acme.example", "--daily-limit", "40", "--rank", "3")
    number = str(made["id"])

    renamed = await operator.get("sender", "update", number, "--name", "Ada")
    assert renamed == {**made, "name": "Ada"}
    bare = await operator.get(
        "sender", "update", number, "--reply-to", "none", "--daily-limit", "none", "--rank", "0"
    )
    assert bare == {**renamed, "reply_to": None, "daily_limit": None, "rank": 0}
    assert "say what to change" in await operator.fail("sender", "update", number)


async def test_a_sender_is_paused_and_resumed(operator: OperatorBeside) -> None:
    number = str((await sender(operator))["id"])

    assert (await operator.get("sender", "pause", number))["state"] == "paused"
    assert (await operator.get("sender", "resume", number))["state"] == "active"


async def test_what_a_sender_cannot_be_is_said_in_a_line(operator: OperatorBeside) -> None:
    create = ("sender", "create", "--brand", "acme", "--address")
    await sender(operator)

    assert "already" in await operator.fail(*create, "news@acme.example")
    assert "no address" in await operator.fail(*create, "nobody")
    assert "no mail account 'gone'" in await operator.fail(*create, "a@acme.example", "--account", "gone")
    assert "rank" in await operator.fail(*create, "a@acme.example", "--rank", "-1")
    assert "no sender 99" in await operator.fail("sender", "show", "99")
    assert "no brand" in await operator.fail("sender", "list", "--brand", "gone")
    assert "kinds" in await refused(operator, *create, "a@acme.example", "--kinds", "spam")
    assert "daily-limit" in await refused(operator, *create, "a@acme.example", "--daily-limit", "0")
    assert "daily-limit" in await refused(operator, *create, "a@acme.example", "--daily-limit", "x")


async def test_the_secret_comes_from_standard_input_or_a_file_and_is_never_shown(
    operator: OperatorBeside, tmp_path: Path
) -> None:
    made = await relay(operator)
    assert made["has_secret"]
    assert made["settings"] == {"host": "relay.example", "user": "acme"}
    (tmp_path / "key").write_text("re_live_123\n")
    resend = await operator.get(
        *("mail-account", "create", "--name", "resend", "--provider", "resend"),
        *("--secret-file", str(tmp_path / "key")),
    )
    shown = await operator.read("mail-account", "show", "resend")
    listed = await operator.get("mail-account", "list")

    assert resend["has_secret"]
    assert [account["name"] for account in listed] == ["relay", "resend"]
    assert "re_live" not in shown + str(listed)


async def test_there_is_no_option_that_takes_a_secret_as_an_argument(operator: OperatorBeside) -> None:
    assert "--password" not in await operator.read("mail-account", "create", "--help")
    assert "No such option" in await refused(operator, *RELAY, "--secret", SECRET)


@pytest.mark.parametrize("given", ["", "\n", "two\nlines\n", "x" * 5000])
async def test_what_is_no_secret_is_refused(operator: OperatorBeside, given: str) -> None:
    result = await operator.type(*RELAY, "--user", "acme", given=given)
    assert result.exit_code == 1
    assert "the secret is one line" in result.stderr
    assert await operator.get("mail-account", "list") == []


async def test_a_relay_without_a_login_asks_for_no_secret(operator: OperatorBeside) -> None:
    made = await operator.get(*RELAY, "--port", "2525", "--tls", "none", "--per-second", "2.5")

    assert made["settings"] == {"host": "relay.example", "port": 2525, "tls": "none"}
    assert (made["has_secret"], made["per_second"], made["account"]) == (False, 2.5, None)


async def test_a_mail_account_changes_by_what_is_given(operator: OperatorBeside) -> None:
    await relay(operator, "--per-second", "5")
    change = ("mail-account", "update", "relay")

    moved = await operator.get(*change, "--host", "other.example")
    assert (moved["settings"], moved["per_second"], moved["version"]) == (
        *({"host": "other.example", "user": "acme"}, 5),
        2,
    )
    free = await operator.get(*change, "--per-second", "none", "--user", "none", "--tls", "none")
    assert (free["settings"], free["per_second"], free["has_secret"]) == (
        *({"host": "other.example", "tls": "none"}, None),
        False,
    )
    assert "both or neither" in await operator.fail(*change, "--user", "again")
    assert "say what to change" in await operator.fail(*change)
    assert "per-second" in await refused(operator, *change, "--per-second", "0")


async def test_a_mail_account_is_paused_resumed_and_retired_for_good(operator: OperatorBeside) -> None:
    await relay(operator)

    assert (await operator.get("mail-account", "pause", "relay"))["state"] == "paused"
    assert (await operator.get("mail-account", "resume", "relay"))["state"] == "active"
    assert (await operator.get("mail-account", "retire", "relay"))["state"] == "retired"
    assert "stays so" in await operator.fail("mail-account", "resume", "relay")
    assert "retired" in await operator.fail(
        "sender", "create", "--brand", "acme", "--address", "a@acme.example", "--account", "relay"
    )


async def test_a_mail_account_is_parked_for_a_while_and_unparked(operator: OperatorBeside) -> None:
    await relay(operator)
    before = datetime.now(UTC)  # noqa: TID251

    parked = await operator.get("mail-account", "park", "relay", "--until", "2h", "--reason", "quota")
    rest = datetime.fromisoformat(parked["parked_until"]) - before
    assert timedelta(hours=2) <= rest < timedelta(hours=3)
    assert parked["parked_reason"] == "quota"

    unparked = await operator.get("mail-account", "unpark", "relay")
    assert (unparked["parked_until"], unparked["parked_reason"]) == (None, None)
    at = await operator.get("mail-account", "park", "relay", "--until", "2199-05-19T17:42")
    assert at["parked_until"].startswith("2199-05-19T17:42:00")
    assert "neither a moment" in await refused(operator, "mail-account", "park", "relay", "--until", "soon")


async def test_what_a_mail_account_cannot_be_is_said_in_a_line(operator: OperatorBeside) -> None:
    create = ("mail-account", "create", "--name", "x", "--provider")
    await operator.get(*RELAY)

    assert "already" in await operator.fail(*RELAY)
    assert "needs host" in await operator.fail(*create, "smtp")
    assert "takes no host" in await operator.fail(*create, "file", "--host", "a", "--folder", "b")
    assert "no account" in await operator.fail(*create, "file", "--folder", "b", "--account", "gone")
    assert "no mail account 'gone'" in await operator.fail("mail-account", "show", "gone")


async def test_a_mail_account_of_one_account_is_not_for_anothers_brand(operator: OperatorBeside) -> None:
    await operator.get("account", "create", "--slug", "theirs", "--name", "Theirs")
    made = await operator.get(*RELAY, "--account", "theirs")
    assert made["account"] == "theirs"

    why = await operator.fail(
        "sender", "create", "--brand", "acme", "--address", "a@acme.example", "--account", "relay"
    )
    assert "belongs to another account" in why


@pytest.mark.parametrize(("algorithm", "kind"), [("rsa-sha256", "rsa"), ("ed25519-sha256", "ed25519")])
async def test_a_dkim_key_is_made_with_its_dns_record(
    operator: OperatorBeside, algorithm: str, kind: str
) -> None:
    made = await operator.get(
        "dkim", "create", "--domain", "Acme.Example", "--selector", "s1", "--algorithm", algorithm
    )

    assert (made["record_name"], made["record_type"]) == ("s1._domainkey.acme.example", "TXT")
    assert made["record_value"].startswith(f"v=DKIM1; k={kind}; p=")
    assert made["state"] == "pending"
    assert "PRIVATE" not in str(made)
    shown = await operator.get("dkim", "show", str(made["id"]))
    assert shown == made
    assert "dkim activate" in await operator.read("dkim", "show", str(made["id"]))


async def test_a_dkim_key_signs_from_its_activation_to_its_retirement(operator: OperatorBeside) -> None:
    made = await operator.get("dkim", "create", "--domain", "acme.example", "--selector", "s1")
    number = str(made["id"])

    assert (await operator.get("dkim", "activate", number))["state"] == "active"
    assert [key["state"] for key in await operator.get("dkim", "list")] == ["active"]
    assert (await operator.get("dkim", "retire", number))["state"] == "retired"


async def test_what_a_dkim_key_cannot_be_is_said_in_a_line(operator: OperatorBeside) -> None:
    create = ("dkim", "create", "--algorithm", "ed25519-sha256")
    await operator.get(*create, "--domain", "acme.example", "--selector", "s1")

    assert "already" in await operator.fail(*create, "--domain", "acme.example", "--selector", "s1")
    assert "names of the DNS" in await operator.fail(*create, "--domain", "localhost", "--selector", "s1")
    assert "names of the DNS" in await operator.fail(*create, "--domain", "a.example", "--selector", "a b")
    assert "no DKIM key 99" in await operator.fail("dkim", "show", "99")


async def test_secrets_of_sending_are_resealed_with_all_others(operator: OperatorBeside) -> None:
    await relay(operator)
    key = await operator.get("dkim", "create", "--domain", "acme.example", "--selector", "s1")
    ring = f"{new_key('next')},{operator.environment['MAILEMENT_SECRET_KEYS']}"
    both = OperatorBeside(Operator({**operator.environment, "MAILEMENT_SECRET_KEYS": ring}))
    next_alone = OperatorBeside(
        Operator({**operator.environment, "MAILEMENT_SECRET_KEYS": ring.partition(",")[0]})
    )

    unreadable = await next_alone.fail("dkim", "show", str(key["id"]))
    resealed = await both.get("secret", "reseal")

    assert "cannot be opened" in unreadable
    assert resealed == {"secrets": 2, "endpoints": 0, "key_ids_in_use": ["next"]}
    assert await next_alone.get("dkim", "show", str(key["id"])) == key


async def test_secrets_of_sending_whose_key_is_missing_are_named(operator: OperatorBeside) -> None:
    made = await relay(operator)
    environment = {**operator.environment, "MAILEMENT_SECRET_KEYS": new_key("other")}

    told = await OperatorBeside(Operator(environment)).type("secret", "reseal", "--json")

    assert told.exit_code == 1
    assert told.stderr.rstrip().endswith(f"of mail_account:{made['id']}")
