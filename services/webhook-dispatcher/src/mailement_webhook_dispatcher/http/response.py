"""Reads one answer out of bytes, without any I/O, and never keeps more of it than was agreed."""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from mailement_webhook_dispatcher.http.exchange import MOST_OF_BODY, Answer

# Status lines and headers in all, those of 1xx answers too.
_MOST_OF_HEAD: Final = 32 * 1024
# Behind the head, chunk sizes and trailers counted: 4 KiB in chunks of one byte fit in.
_MOST_BEHIND_HEAD: Final = 64 * 1024
# Bytes parsed at once; the limits are kept to within one bite.
_BITE: Final = 4096


class Response:
    """Feed it until it is over.

    `answer_began`: status and headers are known. `complete`: the answer came to its own end. `flaw`: why it is no
    answer at all, in words. `keeps`: the connection may carry another exchange.
    """

    __slots__ = (
        "_behind_head",
        "_body",
        "_head_bytes",
        "_headers",
        "_interim",
        "_parser",
        "_phrase",
        "_status",
        "answer_began",
        "complete",
        "enough",
        "flaw",
        "keeps",
    )

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        # Old servers end lines as they like; nobody stands behind us who could be misled by it.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._headers: list[tuple[str, str]] = []
        self._body = b""
        self._phrase = ""
        self._status = 0
        self._head_bytes = 0
        self._behind_head = 0
        self._interim = False
        self.answer_began = False
        self.complete = False
        self.enough = False
        self.keeps = False
        self.flaw: str | None = None

    def over(self) -> bool:
        return self.complete or self.enough or self.flaw is not None

    @property
    def answer(self) -> Answer | None:
        """As far as it has come."""
        if not self.answer_began:
            return None
        return Answer(
            status=self._status,
            headers=tuple(self._headers),
            body=self._body[:MOST_OF_BODY],
            complete=self.complete,
            version=self._parser.get_http_version(),
            phrase=self._phrase,
        )

    def feed(self, data: bytes) -> None:
        if len(data) <= _BITE:
            self._feed(data)
            return
        rest = memoryview(data)
        while rest and not self.over():
            self._feed(rest[:_BITE])
            rest = rest[_BITE:]
        if rest:
            self.keeps = False

    def end(self) -> None:
        """The other side has closed: for an answer without a length that is its end, for any other it is too soon."""
        if self.over():
            return
        if self.answer_began and self._ends_by_closing():
            self.complete = True
        else:
            self.flaw = "the answer ended before it was complete"

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._spoil("the endpoint wants to speak another protocol")
        except HttpParserError as error:
            self._spoil(f"the answer is not HTTP: {error}")
        if not self.over():
            self._count(len(data))

    def _spoil(self, flaw: str) -> None:
        """Behind a complete answer it is no flaw of that answer."""
        if self.complete:
            self.keeps = False
        elif self.flaw is None:
            self.flaw = flaw

    def _count(self, size: int) -> None:
        if not self.answer_began:
            self._head_bytes += size
            if self._head_bytes >= _MOST_OF_HEAD:
                self.flaw = f"the answer's headers are longer than {_MOST_OF_HEAD // 1024} KiB"
            return
        self._behind_head += size
        self.enough = len(self._body) >= MOST_OF_BODY or self._behind_head >= _MOST_BEHIND_HEAD

    def _ends_by_closing(self) -> bool:
        fields = {name.lower(): value.lower() for name, value in self._headers}
        return "content-length" not in fields and not fields.get("transfer-encoding", "").endswith("chunked")

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self.keeps = False

    def on_status(self, phrase: bytes) -> None:
        if not self.complete:
            self._phrase += phrase.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.answer_began:
            self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status == 101:
            self.flaw = "the endpoint wants to speak another protocol"
        elif status < 100:
            self.flaw = f"the answer is not HTTP: {status} is no status"
        elif status < 200:
            self._interim = True
            self._headers.clear()
            self._phrase = ""
        else:
            self._status = status
            self.answer_began = True

    def on_body(self, piece: bytes) -> None:
        if not self.complete and len(self._body) < MOST_OF_BODY:
            self._body += piece

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        elif self.answer_began and not self.complete:
            self.complete = True
            self.keeps = self._parser.should_keep_alive()
