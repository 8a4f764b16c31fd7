"""One answer out of bytes, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_webhook_dispatcher.http.response import Response

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Trailer: t\r\n\r\n"
)
_AFTER_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + _OK
_EMPTY = b"HTTP/1.1 204 No Content\r\nX-Note: none\r\n\r\n"


def _read(*pieces: bytes) -> Response:
    response = Response()
    for piece in pieces:
        if not response.over():
            response.feed(piece)
    return response


@given(st.sampled_from([_OK, _CHUNKED, _AFTER_INTERIM, _EMPTY]), st.data())
def test_an_answer_reads_the_same_however_it_is_cut(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    bounds = [0, *cuts, len(stream)]
    cut = _read(*(stream[start:end] for start, end in pairwise(bounds)))

    assert cut.answer == _read(stream).answer
    assert (cut.complete, cut.keeps, cut.flaw) == (True, True, None)


def test_status_phrase_headers_and_body_come_as_they_were_sent() -> None:
    answer = _read(b"HTTP/1.1 418 Tea Pot\r\nX-MiXed: a\r\nx-mixed: b\r\nContent-Length: 1\r\n\r\n!").answer

    assert answer is not None
    assert (answer.status, answer.body, answer.complete) == (418, b"!", True)
    assert answer.headers == (("X-MiXed", "a"), ("x-mixed", "b"), ("Content-Length", "1"))
    assert answer.head == "HTTP/1.1 418 Tea Pot\r\nX-MiXed: a\r\nx-mixed: b\r\nContent-Length: 1\r\n"
    assert answer.header("X-Mixed") == "a"


def test_interim_headers_are_not_the_answers() -> None:
    answer = _read(_AFTER_INTERIM).answer

    assert answer is not None
    assert answer.headers == (("Content-Length", "2"),)


def test_trailers_are_not_headers() -> None:
    answer = _read(_CHUNKED).answer

    assert answer is not None
    assert answer.headers == (("Transfer-Encoding", "chunked"),)


@pytest.mark.parametrize("size", [4095, 4096, 4097, 10_000])
def test_at_most_4096_bytes_of_a_body_are_kept(size: int) -> None:
    response = _read(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)

    assert response.over()
    assert response.answer is not None
    assert len(response.answer.body) == min(size, 4096)
    assert response.answer.complete is (size <= 4096)
    assert response.keeps is (size <= 4096)


@pytest.mark.parametrize(
    "piece",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 4000,
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"l" * 100_000,
        b"HTTP/1.1 200 " + b"l" * 100_000,
    ],
)
def test_headers_end_before_40_kib_or_are_no_answer(piece: bytes) -> None:
    response = Response()
    fed = 0
    while not response.over():
        response.feed(piece)
        fed += len(piece)

    assert response.answer is None
    assert response.flaw == "the answer's headers are longer than 32 KiB"
    assert fed < 40_960 + len(piece)


@pytest.mark.parametrize("tail", [b"0\r\nX-Long: ", b"1;note="])
def test_what_stands_behind_a_body_is_not_read_for_ever(tail: bytes) -> None:
    response = _read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + tail)
    fed = 0
    while not response.over():
        response.feed(b"n" * 1000)
        fed += 1000

    assert response.answer is not None
    assert (response.answer.body, response.complete) == (b"ok", False)
    assert fed <= 70_000


@pytest.mark.parametrize(
    "excess",
    [
        b"!",
        b"H",
        _OK,
        b"HTTP/1.1 500 No\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"\x00" * 9000,
    ],
)
def test_excess_leaves_the_answer_alone_and_spoils_the_connection(excess: bytes) -> None:
    response = _read(_OK + excess)

    assert response.answer == _read(_OK).answer
    assert (response.flaw, response.keeps) == (None, False)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"220 mail.example ESMTP ready\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", "no status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n", "not HTTP"),
    ],
)
def test_what_is_no_answer_says_why(stream: bytes, reason: str) -> None:
    assert reason in (_read(stream).flaw or "")


@pytest.mark.parametrize(
    "stream", [b"HTTP/1.0 200 OK\r\n\r\nok", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"]
)
def test_a_body_without_a_length_ends_with_the_connection(stream: bytes) -> None:
    response = _read(stream)
    assert not response.over()

    response.end()

    assert response.answer is not None
    assert (response.answer.body, response.complete, response.keeps) == (b"ok", True, False)


@pytest.mark.parametrize("length", range(1, len(_OK)))
def test_a_connection_that_ends_too_soon_is_a_flaw(length: int) -> None:
    response = _read(_OK[:length])

    response.end()

    assert response.flaw == "the answer ended before it was complete"


@pytest.mark.parametrize(
    "stream",
    [b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", _OK.replace(b"OK", b"OK\r\nConnection: close")],
)
def test_a_connection_that_is_to_be_closed_is_not_kept(stream: bytes) -> None:
    response = _read(stream)

    assert (response.complete, response.keeps) == (True, False)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_do_anything_but_answer_or_be_refused(pieces: list[bytes]) -> None:
    response = _read(*pieces)
    response.end()

    assert response.over()
