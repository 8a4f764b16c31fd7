"""Resend's HTTP API. The idempotency key goes along, so that any doubt is settled by asking again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson

from mailement_common.logs import logger
from mailement_mailer.providers.port import (
    Failed,
    Fault,
    Outcome,
    RateLimit,
    RenderedMail,
    RetryLater,
    Sent,
    Uncertain,
)
from mailement_mailer.text import one_line, shortened, without_addresses
from mailement_newsletter.rules.mail_keys import RESEND_KEPT

_KEY_CHARACTERS: Final = 256
_BATCH_MAX: Final = 100
_TOTAL_SECONDS: Final = 60
_TIMEOUT: Final = aiohttp.ClientTimeout(total=_TOTAL_SECONDS, sock_connect=10, sock_read=30)
# Resend sets these itself, the last from a field of its own, and would send ours a second time or refuse them.
_OWN_HEADERS: Final = frozenset({"date", "message-id", "reply-to"})

_ACCOUNT_FAULTS: Final = frozenset({"missing_api_key", "invalid_api_key", "restricted_api_key"})
# By the day: 100 mails, by the month: 3,000 (free plan). Nobody tells when a day ends there, so we ask now and then.
_QUOTA_PAUSES: Final = {
    "daily_quota_exceeded": timedelta(hours=1),
    "monthly_quota_exceeded": timedelta(hours=6),
}
_ACCOUNT_PAUSE: Final = timedelta(minutes=1)
_LIMIT_PAUSE: Final = timedelta(seconds=1)
_CONCURRENT_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(hours=1)
# `2;w=1`: two requests in a second (draft-ietf-httpapi-ratelimit-headers).
_POLICY: Final = re.compile(r'\s*(?:"[^"]*";q=)?(?P<limit>[0-9]{1,9})\s*;\s*w=(?P<window>[0-9]{1,6})')
_NAME: Final = re.compile(r"[a-z0-9_]{1,64}")

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class ResendProvider:
    name: Final = "resend"
    idempotent_for: Final = RESEND_KEPT
    batch_max: Final = _BATCH_MAX

    def __init__(self, *, url: str, api_key: str, connections: int) -> None:
        self._url = f"{url.rstrip('/')}/emails"
        self._api_key = api_key
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._told: RateLimit | None = None

    @property
    def told(self) -> RateLimit | None:
        return self._told

    async def send(self, mail: RenderedMail) -> Outcome:
        answer = await self._post(self._url, mail.key, _body(mail))
        if isinstance(answer, RetryLater):
            return answer
        if not _is_success(answer):
            return _refusal(answer)
        document = _document(answer.body)
        if isinstance(document, dict) and isinstance(document.get("id"), str):
            return Sent(provider_message_id=document["id"])
        return _UNREADABLE

    async def send_batch(self, key: str, mails: Sequence[RenderedMail]) -> Sequence[Outcome]:
        """Permissive: what is wrong with one mail is no reason to refuse the others."""
        answer = await self._post(
            f"{self._url}/batch", key, [_body(mail) for mail in mails], {"x-batch-validation": "permissive"}
        )
        if isinstance(answer, RetryLater):
            return [answer] * len(mails)
        if not _is_success(answer):
            return [_refusal_of_all(answer)] * len(mails)
        return _batch_outcomes(_document(answer.body), len(mails))

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _post(
        self, url: str, key: str, body: object, headers: Mapping[str, str] | None = None
    ) -> _Answer | RetryLater:
        try:
            async with self._http().post(
                url,
                data=orjson.dumps(body),
                headers={"Idempotency-Key": _idempotency_key(key), **(headers or {})},
                allow_redirects=False,
            ) as response:
                self._observe(response.headers)
                return _Answer(status=response.status, headers=response.headers, body=await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            reason = f"no connection: {one_line(str(error))}"
            return RetryLater(reason=reason, provider_wide=True, fault=Fault.RELAY)
        except (aiohttp.ClientError, OSError) as error:
            # The mail may have been taken; the key makes a second one harmless.
            return RetryLater(reason=f"no answer: {type(error).__name__}", may_have_arrived=True)

    def _observe(self, headers: Mapping[str, str]) -> None:
        found = _POLICY.match(headers.get("ratelimit-policy", ""))
        if found is None:
            return
        limit, window = int(found["limit"]), int(found["window"])
        if limit > 0 and window > 0:
            self._told = RateLimit(limit=limit, window=timedelta(seconds=window))

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=_TIMEOUT,
                headers={
                    "Authorization": f"Bearer {self._api_key}",
                    "Content-Type": "application/json",
                    # Without a user agent Resend answers 403.
                    "User-Agent": "mailement",
                },
            )
        return self._session


_UNREADABLE: Final = RetryLater(reason="accepted without a readable answer", may_have_arrived=True)


def _body(mail: RenderedMail) -> dict[str, object]:
    body: dict[str, object] = {
        "from": str(mail.sender),
        "to": [mail.recipient],
        "subject": mail.subject,
        "text": mail.text,
        "headers": {name: value for name, value in mail.headers.items() if name.lower() not in _OWN_HEADERS},
        # Comes back in Resend's webhooks, which may be faster than our own note of its id.
        "tags": [{"name": "message", "value": str(mail.id)}],
    }
    if mail.html is not None:
        body["html"] = mail.html
    if "Reply-To" in mail.headers:
        body["reply_to"] = mail.headers["Reply-To"]
    return body


def _idempotency_key(key: str) -> str:
    return key if len(key) <= _KEY_CHARACTERS else hashlib.sha256(key.encode()).hexdigest()


def _is_success(answer: _Answer) -> bool:
    return HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES


def _batch_outcomes(document: Any, mails: int) -> list[Outcome]:  # noqa: ANN401  whatever stood in the answer
    """`errors` says which mails were refused, by their places; `data` has the ids of the others, in order."""
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        return [_UNREADABLE] * mails
    refused = {
        fault["index"]: Failed(reason=_text(fault), code="422")
        for fault in document.get("errors") or ()
        if isinstance(fault, dict) and isinstance(fault.get("index"), int)
    }
    ids = [_id(item) for item in document["data"]]
    if len(ids) + len(refused) != mails or not refused.keys() <= set(range(mails)):
        return [_UNREADABLE] * mails
    taken = iter(ids)
    return [
        refused[place] if place in refused else Sent(provider_message_id=next(taken))
        for place in range(mails)
    ]


def _id(item: object) -> str | None:
    found = item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) else None


def _refusal(answer: _Answer, *, with_words: bool = True) -> Outcome:
    """`with_words`: the reason says what Resend says, and not only its name for it."""
    status = answer.status
    fault = _document(answer.body)
    name = _name(fault)
    reason = f"{status} {name}".strip()
    if with_words and name:
        reason = f"{reason}: {_text(fault)}"
    code = str(status)
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            # A sender's domain that is not verified is also a 403, but no reason to stop the other senders.
            wide = status == HTTPStatus.UNAUTHORIZED or name in _ACCOUNT_FAULTS
            return RetryLater(
                reason=f"account: {reason}",
                after=_ACCOUNT_PAUSE,
                provider_wide=wide,
                code=code,
                fault=Fault.AUTH,
            )
        case HTTPStatus.CONFLICT if name == "concurrent_idempotent_requests":
            return RetryLater(reason=reason, after=_CONCURRENT_PAUSE, code=code, may_have_arrived=True)
        case HTTPStatus.CONFLICT:
            return Uncertain(reason=reason, code=code)
        case HTTPStatus.TOO_MANY_REQUESTS if name in _QUOTA_PAUSES:
            return RetryLater(
                reason=f"account: {reason}",
                after=max(_QUOTA_PAUSES[name], _pause(answer.headers)),
                provider_wide=True,
                code=code,
                fault=Fault.QUOTA,
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            return RetryLater(
                reason=reason,
                after=_pause(answer.headers),
                provider_wide=True,
                code=code,
                fault=Fault.RATE,
            )
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            return RetryLater(
                reason=f"not Resend's API: {reason}", after=_ACCOUNT_PAUSE, provider_wide=True, code=code
            )
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.TOO_EARLY:
            return RetryLater(reason=reason, code=code, may_have_arrived=True)
        case _ if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Failed(reason=reason, code=code)
        case _:
            return RetryLater(reason=reason, code=code, may_have_arrived=True)


def _refusal_of_all(answer: _Answer) -> Outcome:
    """The request was too large or is not understood, or one mail's sender spoils it: alone, the others may be taken.

    Its mails are of several brands, and what is said of one brand's domain is not for the others to read.
    """
    refusal = _refusal(answer, with_words=False)
    match refusal:
        case Failed() | RetryLater(fault=Fault.AUTH, provider_wide=False):
            log.warning("resend.batch_refused", code=refusal.code, reason=_text(_document(answer.body)))
            return RetryLater(reason=refusal.reason, code=refusal.code, only_together=True)
        case _:
            return refusal


def _document(body: bytes) -> Any:  # noqa: ANN401  any JSON value, None for none
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _name(fault: object) -> str:
    """Resend's name for what is wrong, such as `validation_error`; empty for none."""
    name = fault.get("name") if isinstance(fault, dict) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else ""


def _text(fault: object) -> str:
    words = fault.get("message", "") if isinstance(fault, dict) else ""
    return shortened(without_addresses(one_line(str(words))), 200)


def _pause(headers: Mapping[str, str]) -> timedelta:
    """What `retry-after` asks for, in seconds."""
    retry_after = headers.get("Retry-After", "")
    if not retry_after.isdecimal():
        return _LIMIT_PAUSE
    return min(max(timedelta(seconds=int(retry_after[:6])), _LIMIT_PAUSE), _LONGEST_PAUSE)
