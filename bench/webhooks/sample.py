"""A request as a receiver saw it, so that others can send the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# The sender's client writes these by itself.
_OF_THE_CLIENT = {"host", "content-length", "connection"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    headers: dict[str, str]
    body: bytes


def read_sample(path: Path) -> Sample:
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Sample(
        headers={name: value for name, value in pairs if name.lower() not in _OF_THE_CLIENT}, body=body
    )
