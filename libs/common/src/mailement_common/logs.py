"""Structured logs: one line per deed, JSON for machines or a console line for people.

`event` is a dotted fact that stands in `docs/logging.md`; everything that varies is a field.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson
import structlog

from mailement_common.settings import LogFormat

Logger = structlog.typing.FilteringBoundLogger

_LEVELS: Final[Mapping[str, int]] = logging.getLevelNamesMapping()
_REDACTED: Final = "[redacted]"
# Bounded, so that a long word costs no more than its length; a URL with a password is caught as well.
_ADDRESS: Final = re.compile(r"(?:\"[^\"\n]{1,64}\"|[^\s<>\"@]{1,256})(?:@|%40)[^\s<>\"'@]{1,256}")
_KEY: Final = re.compile(r"\b(?:mlm|mly|dm|sk|re|whsec)_[A-Za-z0-9_+/=-]{8,}")
_SECRET_FIELD: Final = re.compile(
    r"(?:.*[_-])?(?:authorization|cookie|api[_-]?key|secret(?:_keys)?|password|token|email(?:_key)?|dsn|database_url|amqp_url)",
    re.IGNORECASE,
)
_LONGEST: Final = 10_000
_BIGGEST: Final = 2**63
# Foreign libraries whose own access, frame or start-up logs would only repeat ours.
_QUIET: Final = {
    "aiormq": "CRITICAL",
    "aio_pika": "ERROR",
    "uvicorn.access": "CRITICAL",
    "uvicorn.error": "WARNING",
    "asyncio": "WARNING",
}


def logger(name: str) -> Logger:
    """A logger whose lines carry the module's name."""
    bound: Logger = structlog.get_logger(name)
    return bound


class _NamedOutput(structlog.PrintLogger):
    """Writes rendered lines, and knows who is writing."""

    def __init__(self, name: str = "") -> None:
        super().__init__(sys.stdout)
        self.name = name


def configure(*, service: str, level: str, form: LogFormat) -> None:
    """Sends our logs and those of the libraries to standard output, one line each."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        redact,
        # What we add ourselves needs no cleaning.
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_service(service),
    ]
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_dumps)
        if form is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level.upper()]),
        logger_factory=_NamedOutput,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Takes addresses, keys and secrets out of a line, however deep, before anything renders it."""
    for field, value in event.items():
        # What starts so is structlog's own and leaves the line again.
        if not field.startswith("_"):
            event[field] = _REDACTED if _is_secret(field) else _clean(value)
    return event


@lru_cache(maxsize=1024)
def _is_secret(field: str) -> bool:
    return _SECRET_FIELD.fullmatch(field) is not None


def _clean(value: object) -> object:
    """A value that JSON can hold, without what must not be in it."""
    match value:
        case str():
            return _clean_text(value)
        case None | bool() | float() | datetime():
            return value
        case int():
            return value if -_BIGGEST <= value < _BIGGEST else str(value)
        case Mapping():
            names = {name: _clean_text(str(name)) for name in value}
            return {
                names[name]: _REDACTED if _is_secret(names[name]) else _clean(inner)
                for name, inner in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_clean(inner) for inner in value]
        case _:
            return _clean_text(str(value))


def _clean_text(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    if "@" in text or "%40" in text:
        text = _ADDRESS.sub(_REDACTED, text)
    if "_" in text:
        text = _KEY.sub(_REDACTED, text)
    # Half a surrogate pair is no text to whoever reads the line.
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return add


def _dumps(event: Any, **_: Any) -> str:  # noqa: ANN401  the renderer hands over whatever was logged
    return orjson.dumps(event).decode()
