"""Resend's HTTP API. The dedupe key goes along as Idempotency-Key, so that any doubt is settled by asking again."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import aiohttp
import orjson

from mailement_mailer.providers.port import Failed, Outcome, RenderedMail, RetryLater, Sent, Uncertain
from mailement_mailer.text import one_line, shortened

# Resend keeps a key for 24 hours; the last attempt has to arrive before that.
_KEY_KEPT: Final = timedelta(hours=23)
_KEY_CHARACTERS: Final = 256
_TOTAL_SECONDS: Final = 60
_TIMEOUT: Final = aiohttp.ClientTimeout(total=_TOTAL_SECONDS, sock_connect=10, sock_read=30)
# Resend sets these itself and would send ours a second time or refuse them.
_OWN_HEADERS: Final = frozenset({"date", "message-id"})

_ACCOUNT_FAULTS: Final = frozenset({"missing_api_key", "invalid_api_key", "restricted_api_key"})
_QUOTA_FAULTS: Final = frozenset({"daily_quota_exceeded", "monthly_quota_exceeded"})
_ACCOUNT_PAUSE: Final = timedelta(minutes=1)
_QUOTA_PAUSE: Final = timedelta(minutes=15)
_LIMIT_PAUSE: Final = timedelta(seconds=1)
_CONCURRENT_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(hours=1)


class ResendProvider:
    name: Final = "resend"
    idempotent_for: Final = _KEY_KEPT
    longest: Final = timedelta(seconds=_TOTAL_SECONDS)

    def __init__(self, *, url: str, api_key: str, connections: int) -> None:
        self._url = f"{url.rstrip('/')}/emails"
        self._api_key = api_key
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def send(self, mail: RenderedMail) -> Outcome:
        try:
            async with self._http().post(
                self._url,
                data=orjson.dumps(_body(mail)),
                headers={"Idempotency-Key": _idempotency_key(mail.key)},
                allow_redirects=False,
            ) as response:
                return _outcome(response.status, response.headers.get("Retry-After"), await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return RetryLater(reason=f"no connection: {one_line(str(error))}", provider_wide=True)
        except (aiohttp.ClientError, OSError) as error:
            # The mail may have been taken; the key makes a second one harmless.
            return RetryLater(reason=f"no answer: {type(error).__name__}")

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

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
    return body


def _idempotency_key(key: str) -> str:
    return key if len(key) <= _KEY_CHARACTERS else hashlib.sha256(key.encode()).hexdigest()


def _outcome(status: int, retry_after: str | None, body: bytes) -> Outcome:
    name, text = _fault(body)
    reason = f"{status} {name}: {text}" if name else f"{status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _accepted(body)
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            # A sender's domain that is not verified is also a 403, but no reason to stop the other senders.
            wide = status == HTTPStatus.UNAUTHORIZED or name in _ACCOUNT_FAULTS
            return RetryLater(reason=f"account: {reason}", after=_ACCOUNT_PAUSE, provider_wide=wide)
        case HTTPStatus.CONFLICT if name == "concurrent_idempotent_requests":
            return RetryLater(reason=reason, after=_CONCURRENT_PAUSE)
        case HTTPStatus.CONFLICT:
            return Uncertain(reason=reason)
        case HTTPStatus.TOO_MANY_REQUESTS if name in _QUOTA_FAULTS:
            return RetryLater(reason=f"account: {reason}", after=_QUOTA_PAUSE, provider_wide=True)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return RetryLater(reason=reason, after=_pause(retry_after), provider_wide=True)
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            return RetryLater(reason=f"not Resend's API: {reason}", after=_ACCOUNT_PAUSE, provider_wide=True)
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.TOO_EARLY:
            return RetryLater(reason=reason)
        case _ if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Failed(reason=reason)
        case _:
            return RetryLater(reason=reason)


def _accepted(body: bytes) -> Outcome:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return RetryLater(reason="accepted without a readable answer")
    if isinstance(answer, dict) and isinstance(answer.get("id"), str):
        return Sent(provider_message_id=answer["id"])
    return RetryLater(reason="accepted without an id")


def _fault(body: bytes) -> tuple[str, str]:
    try:
        fault = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(fault, dict):
        return "", ""
    return str(fault.get("name", "")), shortened(one_line(str(fault.get("message", ""))), 200)


def _pause(retry_after: str | None) -> timedelta:
    if retry_after is None or not retry_after.isdecimal():
        return _LIMIT_PAUSE
    return min(max(timedelta(seconds=int(retry_after[:6])), _LIMIT_PAUSE), _LONGEST_PAUSE)
