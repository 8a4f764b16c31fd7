"""The DKIM keys of the mails that are being handed over, for whoever writes them onto a wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mailement_mailer.providers.dkim import DkimKey
from mailement_mailer.providers.port import RenderedMail
from mailement_newsletter.ids import MessageId


class Signing:
    """Asked for a mail's key by providers that sign."""

    def __init__(self) -> None:
        self._keys: dict[MessageId, DkimKey] = {}

    def __call__(self, mail: RenderedMail) -> DkimKey | None:
        return self._keys.get(mail.id)

    @contextmanager
    def under(self, keys: Iterable[tuple[MessageId, DkimKey | None]]) -> Iterator[None]:
        """Within the block these mails are signed so."""
        known = {message_id: key for message_id, key in keys if key is not None}
        self._keys.update(known)
        try:
            yield
        finally:
            for message_id in known:
                self._keys.pop(message_id, None)
