"""Compilers and inliners from outside of Python, which fail in their own ways and cannot be stopped.

They walk elements on the stack, and an overflow there would take the process with it. So the number of elements is
bounded, whatever they are nested in, and more than a few get a stack that is deep enough for all of them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from mailement_newsletter.content.sandbox import TemplateFault

_MOST_ELEMENTS: Final = 10_000
# A level takes at most 6 KiB (MJML), and a tag brings at most two: `<table><td>` is four elements.
_STACK_BYTES: Final = 128 * 1024 * 1024

_START_TAG: Final = re.compile(r"<[a-zA-Z]")
_stack_size: Final = threading.Lock()


def asked(what: str, work: Callable[[str], str], source: str, *, few: int) -> str:
    """The answer of `work`, on a stack of its own if there are more than `few` elements. Raises TemplateFault."""
    elements = len(_START_TAG.findall(source))
    if elements > _MOST_ELEMENTS:
        raise TemplateFault(f"{what}: more than {_MOST_ELEMENTS} elements")
    try:
        return work(source) if elements <= few else _on_a_deep_stack(work, source)
    except ValueError as error:
        raise TemplateFault(f"{what}: {error}") from error
    except BaseException as error:
        # A panic is no Exception, and its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise TemplateFault(f"{what}: it cannot be read") from error


def _on_a_deep_stack(work: Callable[[str], str], source: str) -> str:
    answer: Future[str] = Future()

    def run() -> None:
        try:
            answer.set_result(work(source))
        except BaseException as error:  # noqa: BLE001  raised again where it is asked for
            answer.set_exception(error)

    with _stack_size:
        # The size is the whole process's: whoever else starts a thread just now gets a roomy one.
        before = threading.stack_size(_STACK_BYTES)
        try:
            threading.Thread(target=run, name="native", daemon=True).start()
        finally:
            threading.stack_size(before)
    return answer.result()
