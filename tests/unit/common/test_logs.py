from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from typing_extensions import override

from mailement_common import logs
from mailement_common.logs import logger
from mailement_common.settings import LogFormat

ADDRESS = "reader@example.com"
KEY = "mlm_live_" + "0123456789abcdef" * 2


class Logged:
    """Configures logging, and reads what was logged since the last look."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def configure(self, form: LogFormat) -> None:
        logs.configure(service="test", level="info", form=form)

    def text(self) -> str:
        return self._capsys.readouterr().out

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.text().split("\n") if line]


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Logged]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("aiormq", "aio_pika", "asyncio", "uvicorn", "uvicorn.error", "uvicorn.access")
    before = {name: logging.getLogger(name).level for name in names}
    yield Logged(capsys)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, its_level in before.items():
        logging.getLogger(name).setLevel(its_level)


def test_a_line_is_one_json_object_that_says_who_when_and_what(logged: Logged) -> None:
    logged.configure(LogFormat.JSON)
    logger("mailement_common.thing").info("thing.done", count=2, parts=["a", "b"], took=1.5, ok=True, by=None)

    (line,) = logged.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "thing.done",
        "level": "info",
        "logger": "mailement_common.thing",
        "service": "test",
        "count": 2,
        "parts": ["a", "b"],
        "took": 1.5,
        "ok": True,
        "by": None,
    }


def test_levels_below_the_chosen_one_are_silent(logged: Logged) -> None:
    logged.configure(LogFormat.JSON)
    logger("t").debug("thing.looked_at")
    logging.getLogger("somebody").debug("else")

    assert logged.lines() == []


def test_a_line_of_a_library_has_the_same_shape(logged: Logged) -> None:
    logged.configure(LogFormat.JSON)
    logging.getLogger("somebody.else").warning("cannot reach %s", "it")

    (line,) = logged.lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "cannot reach it",
        "level": "warning",
        "logger": "somebody.else",
        "service": "test",
    }


@pytest.mark.parametrize("foreign", [True, False])
def test_a_traceback_stays_in_its_line_without_addresses(logged: Logged, *, foreign: bool) -> None:
    logged.configure(LogFormat.JSON)
    try:
        raise ValueError(f"no {ADDRESS}\nin two lines")
    except ValueError:
        if foreign:
            logging.getLogger("somebody").exception("failed")
        else:
            logger("t").exception("thing.failed")

    (line,) = logged.lines()
    assert line["level"] == "error"
    assert "ValueError: no [redacted]" in line["exception"]
    assert ADDRESS not in str(line)


def test_what_the_context_says_stands_in_every_line(logged: Logged) -> None:
    logged.configure(LogFormat.JSON)
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        logger("t").info("thing.done")
        logging.getLogger("somebody").warning("else")

    assert [line["request_id"] for line in logged.lines()] == ["r-1", "r-1"]


class Told:
    """An object that nobody made for a log."""

    @override
    def __str__(self) -> str:
        return f"told {ADDRESS} {KEY}"


@pytest.mark.parametrize(
    "value",
    [
        ADDRESS,
        KEY,
        f"<{ADDRESS}>",
        f'550 <"reader at"@example.com> {ADDRESS} rejected',
        f"DETAIL: Key (brand_id, email_key)=(1, {ADDRESS}) exists",
        f"a b {ADDRESS}, c",
        f"https://example.com/?email={ADDRESS}",
        "https://example.com/?email=reader%40example.com",
        f"Bearer {KEY}",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "re_GzyXfPHs_5Hs7jQk2b9dJq",
        "postgresql://reader:0123456789abcdef@db/letters",
        [ADDRESS],
        (KEY, 1),
        {ADDRESS},
        {"to": {"address": ADDRESS}},
        {ADDRESS: 1},
        {"password": "0123456789abcdef"},
        [{"secret": "0123456789abcdef"}],
        ValueError(ADDRESS),
        OSError(2, "no", KEY),
        ADDRESS.encode(),
        Path("/mail") / ADDRESS,
        Told(),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("form", LogFormat)
def test_addresses_keys_and_secrets_leave_no_field(logged: Logged, value: object, form: LogFormat) -> None:
    logged.configure(form)
    logger("t").info("thing.done", value=value)

    told = logged.text()
    assert "reader" not in told
    assert "0123456789abcdef" not in told
    assert "MfKQ9r8G" not in told
    assert "GzyXfPHs" not in told
    assert "[redacted]" in told


@pytest.mark.parametrize(
    "field",
    [
        "Authorization",
        "api_key",
        "x-newsletter-api-key",
        "secret",
        "secret_keys",
        "password",
        "database_password",
        "resend_api_key",
        "token",
        "email",
        "email_key",
        "dsn",
        "database_url",
        "set-cookie",
    ],
)
def test_a_field_of_a_secret_s_name_shows_nothing(logged: Logged, field: str) -> None:
    logged.configure(LogFormat.JSON)
    logger("t").info("thing.done", **{field: "0123456789"})

    assert logged.lines()[0][field] == "[redacted]"


@pytest.mark.parametrize(
    "fields",
    [
        {"key_id": 7, "brand_id": 2**63 - 1, "event_id": "08a91a4d-63e0-818d-b1d7-b0e7b6e5ea23"},
        {"reason": "connect_timeout", "slug": "weekly_digest_news", "loop": "outbox relay"},
        {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
    ],
)
def test_what_is_no_secret_is_left_as_it_is(logged: Logged, fields: dict[str, object]) -> None:
    logged.configure(LogFormat.JSON)
    logger("t").info("thing.done", **fields)

    (line,) = logged.lines()
    assert {name: line[name] for name in fields} == fields


def test_a_library_s_line_is_redacted_too(logged: Logged) -> None:
    logged.configure(LogFormat.JSON)
    logging.getLogger("somebody").warning("to %s with %s", ADDRESS, KEY)

    assert logged.lines()[0]["event"] == "to [redacted] with [redacted]"


def test_a_value_cannot_break_a_line(logged: Logged) -> None:
    logged.configure(LogFormat.JSON)
    logger("t").info("thing.done", value='a\nb\r\n{"event":"forged"}\u2028\x00\ud800')
    logger("t").info("thing.done", value=2**70)

    assert [line["event"] for line in logged.lines()] == ["thing.done", "thing.done"]


def test_people_get_a_line_with_the_same_facts(logged: Logged) -> None:
    logged.configure(LogFormat.CONSOLE)
    logger("t").info("thing.done", count=2, to=ADDRESS)

    line = logged.text()
    assert line.count("\n") == 1
    assert "thing.done" in line
    assert "count=2" in line
    assert ADDRESS not in line


def test_people_get_tracebacks_without_a_warning(logged: Logged) -> None:
    logged.configure(LogFormat.CONSOLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            raise ValueError(ADDRESS)
        except ValueError:
            logger("t").exception("thing.failed")

    assert "ValueError: [redacted]" in logged.text()


@pytest.mark.parametrize(
    "address", ['"john doe"@example.com', "o'brien@example.com", "jürgen@münchen.example"]
)
def test_unusual_addresses_are_taken_out_whole(logged: Logged, address: str) -> None:
    logged.configure(LogFormat.JSON)
    logger("t").info("thing.done", reason=f"550 <{address}> rejected")

    assert logged.lines()[0]["reason"] == "550 <[redacted]> rejected"
