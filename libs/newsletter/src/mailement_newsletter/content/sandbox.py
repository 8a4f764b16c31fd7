"""Liquid within limits: a template is somebody's text, and must not be able to stop whoever renders it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from functools import wraps
from io import StringIO
from typing import Final

from liquid import BoundTemplate, Environment, RenderContext, Token
from liquid.exceptions import LiquidError, LiquidSyntaxError, ResourceLimitError
from liquid.output import LimitedStringIO
from liquid.undefined import UNDEFINED
from typing_extensions import override

from mailement_newsletter.content.cache import SourceCache
from mailement_newsletter.content.markup import LIQUID, line_of
from mailement_newsletter.content.spelling import meant

_SOURCE_CHARACTERS: Final = 500_000
_BLOCK_DEPTH: Final = 30
_TAG_CHARACTERS: Final = 10_000
_SPACES: Final = 100
_LOOP_ITERATIONS: Final = 10_000
_ASSIGNED_BYTES: Final = 1_000_000
# What a filter takes or gives may not be larger, so that a chain of filters cannot grow without end.
_VALUE_CHARACTERS: Final = 1_000_000
_VALUE_ITEMS: Final = 5_000
_VALUE_BITS: Final = 4_096
_RENDER_SECONDS: Final = 1.0
_PARSED_CHARACTERS: Final = 8_000_000

# A mail is one source: there is nothing that could be included.
_PARTIALS: Final = ("include", "render")
_NOT_WRITTEN: Final = frozenset({"content", "output", "illegal"})
_WITHIN_BLOCKS: Final = frozenset({"else", "elsif", "when"})
_BLOCKS: Final = frozenset({"if", "unless", "case", "for", "tablerow", "capture", "ifchanged"})
_UNREAD: Final = re.compile(
    rf"\{{%-?\s*(?P<block>raw|doc)\s*-?%\}}.*?(?:(?P<end>\{{%-?\s*end(?P=block)\s*-?%\}})|\Z)|{LIQUID.pattern}",
    re.DOTALL,
)
_MANY_SPACES: Final = re.compile(rf"\s{{{_SPACES + 1}}}")
_TAG: Final = re.compile(r"\{%-?\s*(?P<name>\w+)")

_Filter = Callable[..., object]

_deadline: Final[ContextVar[float]] = ContextVar("deadline")


class TemplateFault(Exception):
    """The template cannot be rendered; the message says why, in the words of its language.

    `line`: of the source, from 1, where that is known.
    """

    def __init__(self, reason: str, *, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


class Sandbox:
    """One kind of template: `autoescape` for HTML; `output_bytes` is the most that one may become.

    Keeps parsed templates; may be used by several threads.
    """

    def __init__(self, *, autoescape: bool, output_bytes: int) -> None:
        self._environment = _environment(autoescape=autoescape, output_bytes=output_bytes)
        self._parsed = SourceCache(self._read, characters=_PARSED_CHARACTERS)

    @property
    def filters(self) -> Collection[str]:
        """The names of all that a value can be sent through."""
        return self._environment.filters.keys()

    def parse(self, source: str) -> BoundTemplate:
        """Raises TemplateFault."""
        return self._parsed(source)

    def render(self, source: str, values: Mapping[str, object]) -> str:
        """The text; a name without a value renders as nothing. Raises TemplateFault."""
        template = self.parse(source)
        _deadline.set(time.monotonic() + _RENDER_SECONDS)
        try:
            return template.render(values)
        except LiquidError as error:
            raise self._fault(error, source) from error
        except Exception as error:
            # Filters meet values of any shape; what they stumble over is the template's fault all the same.
            raise TemplateFault(f"{type(error).__name__}: {error}") from error

    def _read(self, source: str) -> BoundTemplate:
        if len(source) > _SOURCE_CHARACTERS:
            raise TemplateFault(f"longer than {_SOURCE_CHARACTERS} characters")
        _refuse_slow_to_read(source)
        try:
            return self._environment.from_string(source)
        except LiquidError as error:
            if isinstance(error.__cause__, RecursionError):
                raise TemplateFault("an expression is nested too deep") from error
            raise self._fault(error, source) from error

    def _fault(self, error: LiquidError, source: str) -> TemplateFault:
        token = error.token
        if token is None or token.start_index < 0:
            return TemplateFault(_reason(error), line=_unclosed_line(source))
        line = line_of(source, token.start_index)
        if isinstance(error, LiquidSyntaxError) and str(error.message) == f"unexpected tag '{token.value}'":
            return TemplateFault(self._unexpected(token.value), line=line)
        return TemplateFault(_reason(error), line=line)

    def _unexpected(self, tag: str) -> str:
        known = [name for name in self._environment.tags if name.isalpha() and name not in _NOT_WRITTEN]
        if tag in _WITHIN_BLOCKS or tag.removeprefix("end") in known:
            return f"{tag} stands outside of its block"
        return f"unknown tag {tag}{meant(tag, known)}"


def _refuse_slow_to_read(source: str) -> None:
    """What Liquid's own reader would take the square of its length for, and no clock would stop. Raises TemplateFault."""
    for found in _UNREAD.finditer(source):
        if found["block"] is not None:
            closed, missing = found["end"] is not None, f"expected end{found['block']}"
        else:
            closed, missing = (
                found[0].endswith(("}}", "%}")),
                f"expected {'}}' if found[0][1] == '{' else '%}'}",
            )
        if not closed:
            raise TemplateFault(f"{missing}, found the end", line=line_of(source, found.start()))
        if found["block"] is None and (len(found[0]) > _TAG_CHARACTERS or _MANY_SPACES.search(found[0])):
            raise TemplateFault(
                f"a tag has more than {_TAG_CHARACTERS} characters, or {_SPACES} spaces in a row",
                line=line_of(source, found.start()),
            )


def _reason(error: LiquidError) -> str:
    message = str(error.message or type(error).__name__)
    return message.replace("end of expression", "the end")


def _unclosed_line(source: str) -> int | None:
    """Of the innermost block that has no end."""
    opened: list[tuple[str, int]] = []
    for found in _TAG.finditer(source):
        name = found["name"]
        if name in _BLOCKS:
            opened.append((name, found.start()))
        elif opened and name == f"end{opened[-1][0]}":
            opened.pop()
    return line_of(source, opened[-1][1]) if opened else None


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
        block_nesting_limit = _BLOCK_DEPTH
        loop_iteration_limit = _LOOP_ITERATIONS
        local_namespace_limit = _ASSIGNED_BYTES
        output_stream_limit = output_bytes
        template_class = _TimedTemplate

        @override
        def error(
            self,
            exc: type[LiquidError] | LiquidError,
            msg: str | None = None,
            token: Token | None = None,
        ) -> None:
            # An expression that ends too early stands nowhere; its tag does.
            if isinstance(exc, LiquidError) and exc.token is not None and exc.token.start_index < 0:
                exc.token = token
            super().error(exc, msg, token)

    environment = Limited(autoescape=autoescape)
    for name in _PARTIALS:
        del environment.tags[name]
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
