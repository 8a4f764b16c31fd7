"""Structured logs: one line per deed, JSON for machines or a console line for people.

`event` is a dotted fact that stands in `docs/logging.md`; everything that varies is a field.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import orjson
import structlog

from mailement_common.settings import LogFormat

Logger = structlog.typing.FilteringBoundLogger

_LEVELS: Final[Mapping[str, int]] = logging.getLevelNamesMapping()
_ADDRESS: Final = re.compile(r"[^\s<>\"'@]+@[^\s<>\"'@]+")
_KEY: Final = re.compile(r"\b(?:mlm|mly|dm|sk|whsec)_[A-Za-z0-9_+/=-]{8,}")
_SECRET_FIELDS: Final = frozenset({"authorization", "api_key", "secret", "password", "token", "email", "dsn"})
# Foreign libraries whose own access or frame logs would only repeat ours.
_QUIET: Final = {"aiormq": "ERROR", "aio_pika": "ERROR", "uvicorn.access": "CRITICAL", "asyncio": "WARNING"}


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
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_service(service),
        structlog.processors.format_exc_info,
        redact,
    ]
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_dumps)
        if form is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
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
    """Takes addresses, keys and secrets out of a line before anything renders it."""
    for field, value in event.items():
        if field in _SECRET_FIELDS:
            event[field] = "[redacted]"
        elif isinstance(value, str) and ("@" in value or "_" in value):
            event[field] = _KEY.sub("[redacted]", _ADDRESS.sub("[redacted]", value))
    return event


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return add


def _dumps(event: Any, **_: Any) -> str:  # noqa: ANN401  the renderer hands over whatever was logged
    return orjson.dumps(event, default=str).decode()
