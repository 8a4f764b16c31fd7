"""Liquid within limits: a template is somebody's text, and must not be able to stop the mailer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache, wraps
from io import StringIO
from typing import Final

from liquid import BoundTemplate, Environment, RenderContext, Token
from liquid.exceptions import LiquidError, ResourceLimitError
from liquid.output import LimitedStringIO
from liquid.undefined import UNDEFINED
from typing_extensions import override

_SOURCE_CHARACTERS: Final = 500_000
_LOOP_ITERATIONS: Final = 10_000
_ASSIGNED_BYTES: Final = 1_000_000
# What a filter takes or gives may not be larger, so that a chain of filters cannot grow without end.
_VALUE_CHARACTERS: Final = 1_000_000
_VALUE_ITEMS: Final = 5_000
_VALUE_BITS: Final = 4_096
_RENDER_SECONDS: Final = 1.0
_PARSED_TEMPLATES: Final = 500

_Filter = Callable[..., object]

_deadline: Final[ContextVar[float]] = ContextVar("deadline")


class TemplateFault(Exception):
    """The template cannot be rendered; the message says why, in the words of its language."""


class Sandbox:
    """One kind of template: `autoescape` for HTML; `output_bytes` is the most that one may become."""

    def __init__(self, *, autoescape: bool, output_bytes: int) -> None:
        self._environment = _environment(autoescape=autoescape, output_bytes=output_bytes)
        self._parse = lru_cache(maxsize=_PARSED_TEMPLATES)(self._environment.from_string)

    def render(self, source: str, values: Mapping[str, object]) -> str:
        """The text; a name without a value renders as nothing. Raises TemplateFault."""
        if len(source) > _SOURCE_CHARACTERS:
            raise TemplateFault(f"longer than {_SOURCE_CHARACTERS} characters")
        _deadline.set(time.monotonic() + _RENDER_SECONDS)
        try:
            return self._parse(source).render(values)
        except LiquidError as error:
            raise TemplateFault(str(error.message or type(error).__name__)) from error
        except Exception as error:
            # Filters meet values of any shape; what they stumble over is the template's fault all the same.
            raise TemplateFault(f"{type(error).__name__}: {error}") from error


class _TimedContext(RenderContext):
    @override
    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        _refuse_late()
        return super().get(path, token=token, default=default)

    @override
    def assign(self, key: str, val: object) -> None:
        _refuse_late()
        super().assign(key, val)


class _TimedOutput(LimitedStringIO):
    @override
    def write(self, text: str, /) -> int:
        _refuse_late()
        return super().write(text)


class _TimedTemplate(BoundTemplate):
    context_class = _TimedContext

    @override
    def _get_buffer(self) -> StringIO:
        limit = self.env.output_stream_limit
        assert limit is not None
        return _TimedOutput(limit)


def _environment(*, autoescape: bool, output_bytes: int) -> Environment:
    class Limited(Environment):
        loop_iteration_limit = _LOOP_ITERATIONS
        local_namespace_limit = _ASSIGNED_BYTES
        output_stream_limit = output_bytes
        template_class = _TimedTemplate

    environment = Limited(autoescape=autoescape)
    for name, function in list(environment.filters.items()):
        environment.add_filter(name, _limited(function))
    for name in ("replace", "join"):
        environment.add_filter(name, _without_explosion(environment.filters[name]))
    return environment


def _limited(function: _Filter) -> _Filter:
    @wraps(function)
    def limited(*args: object, **kwargs: object) -> object:
        _refuse_late()
        for value in args:
            _refuse_huge(value)
        result = function(*args, **kwargs)
        _refuse_huge(result)
        return result

    return limited


def _without_explosion(function: _Filter) -> _Filter:
    """For `replace` and `join`, whose result can be as large as the product of what they take."""

    @wraps(function)
    def bounded(value: object, *args: object, **kwargs: object) -> object:
        if args and _copies(value, args[0]) * len(str(args[-1])) > _VALUE_CHARACTERS:
            raise ResourceLimitError("a value would grow too large", token=None)
        return function(value, *args, **kwargs)

    return bounded


def _copies(value: object, first: object) -> int:
    """How often the last argument will stand in the result: between items, or where `first` stood."""
    if isinstance(value, list | tuple | range):
        return len(value)
    return str(value).count(str(first))


def _refuse_late() -> None:
    if time.monotonic() > _deadline.get():
        raise ResourceLimitError("the time limit was reached", token=None)


def _refuse_huge(value: object) -> None:
    match value:
        case str() | bytes():
            huge = len(value) > _VALUE_CHARACTERS
        case list() | tuple() | dict() | range():
            huge = len(value) > _VALUE_ITEMS
        case int():
            huge = value.bit_length() > _VALUE_BITS
        case _:
            huge = False
    if huge:
        raise ResourceLimitError("a value is too large", token=None)
