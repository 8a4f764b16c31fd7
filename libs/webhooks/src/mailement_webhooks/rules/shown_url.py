"""A URL as it may be shown to others than its owner."""

from __future__ import annotations

from urllib.parse import urlsplit


def shown_url(url: str) -> str:
    """Without query and fragment, which receivers use for tokens, and without a user's name and password.

    Raises ValueError if it cannot be read as a URL.
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
