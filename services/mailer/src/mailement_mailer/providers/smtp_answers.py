"""What an SMTP server's answer means. Pure.

The basic code says whether to come again, the enhanced code (RFC 3463, RFC 5248) what it is about; where it is too
general, the words tell, and last the command that was answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mailement_mailer.providers.port import Failed, Fault, RetryLater, Uncertain
from mailement_mailer.text import one_line, shortened, without_addresses

_PERMANENT: Final = 500
_TEMPORARY: Final = 400
_CLOSING: Final = 421
_REASON_CHARACTERS: Final = 300
_READ_CHARACTERS: Final = 2_000


class Stage(StrEnum):
    """What was answered: the greeting, EHLO, STARTTLS and login; MAIL; RCPT; DATA; the final dot."""

    CONNECT = "connect"
    MAIL = "mail"
    RECIPIENT = "recipient"
    DATA = "data"
    DOT = "dot"


class Scope(StrEnum):
    """Whom an answer concerns: this mail, all to its destination, or everything by this relay."""

    MAIL = "mail"
    DESTINATION = "destination"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`after`: how long the server wants us to stay away, where it says so; `closes`: it hangs up now."""

    code: int
    enhanced: str | None
    text: str
    fault: Fault
    scope: Scope
    after: timedelta | None = None

    @property
    def permanent(self) -> bool:
        return self.code >= _PERMANENT

    @property
    def temporary(self) -> bool:
        return _TEMPORARY <= self.code < _PERMANENT

    @property
    def closes(self) -> bool:
        return self.code == _CLOSING


# The account's pause is the mailer's: short, since an operator is at work on it or a limit passes.
_ACCOUNT_PAUSE: Final = timedelta(seconds=15)
_LIMIT_PAUSE: Final = timedelta(seconds=60)
_LONGEST_WAIT: Final = timedelta(hours=4)
# Servers count from the first attempt and round; who comes on the second is sent away again (Postal does the same).
_WAIT_MARGIN: Final = timedelta(seconds=10)

_ENHANCED: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=[\s:;,-]|$)")
_WAIT: Final = re.compile(
    r"\b(?:in|for|after|wait|least)\s+(?:about\s+|another\s+|at least\s+)?"
    r"(?:(?P<clock>\d{1,2}:\d\d:\d\d)\b|(?P<number>\d{1,6})\s*(?P<unit>s|m|h)(?:ec|in|our|r|\b))",
    re.IGNORECASE,
)
_UNITS: Final = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}

# Codes of the login and of TLS: whenever they come, they are about us.
_LOGIN_CODES: Final = frozenset({530, 534, 535, 538})
_NO_TLS_NOW: Final = 454

_BY_ENHANCED: Final[dict[tuple[int, int], Fault]] = {
    **dict.fromkeys([(1, n) for n in (1, 2, 3, 4, 6, 10)], Fault.RECIPIENT),
    # The sender's address.
    **dict.fromkeys([(1, 7), (1, 8), (1, 9)], Fault.POLICY),
    (2, 1): Fault.RECIPIENT,
    (2, 2): Fault.MAILBOX_FULL,
    (2, 3): Fault.CONTENT,
    (2, 4): Fault.RECIPIENT,
    **dict.fromkeys([(3, 3), (3, 4), (3, 6)], Fault.CONTENT),
    **dict.fromkeys([(3, 1), (3, 2), (3, 5)], Fault.RELAY),
    **dict.fromkeys([(4, n) for n in (1, 2, 3, 4, 6, 7)], Fault.RELAY),
    (4, 5): Fault.RATE,
    (5, 3): Fault.RATE,
    **dict.fromkeys([(5, n) for n in (1, 2, 4, 5, 6)], Fault.RELAY),
    **dict.fromkeys([(6, n) for n in range(1, 11)], Fault.CONTENT),
    (7, 2): Fault.POLICY,
    **dict.fromkeys([(7, n) for n in (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)], Fault.AUTH),
    (7, 15): Fault.RATE,
    (7, 16): Fault.CONTENT,
    # RFC 7293: the address belongs to somebody else by now.
    **dict.fromkeys([(7, 17), (7, 18)], Fault.RECIPIENT),
    # DKIM, SPF, reverse DNS, DMARC (RFC 7372, and as Google and Microsoft number them).
    **dict.fromkeys([(7, n) for n in (20, 21, 22, 23, 24, 25, 26, 27, 29, 30, 31, 32, 515)], Fault.AUTH),
    (7, 28): Fault.RATE,
    # Microsoft's throttles.
    **dict.fromkeys([(7, n) for n in (500, 650, 651, 652, 750)], Fault.RATE),
    **dict.fromkeys([(7, n) for n in range(606, 650)], Fault.POLICY),
}

# Asked in this order, wherever an enhanced code says no more than `x.0.0` or `x.7.1`.
_WORDS: Final[tuple[tuple[Fault, str], ...]] = (
    (Fault.POLICY, r"gr[ea]ylist"),
    (Fault.RELAY, r"relay(?:ing)?[^.]{0,30}(?:denied|not (?:allowed|permitted)|prohibited)"),
    (Fault.RELAY, r"(?:unable|not permitted) to relay"),
    (Fault.MAILBOX_FULL, r"(?:mailbox|inbox)\b.{0,20}\bfull|over ?quota|out of storage"),
    (Fault.MAILBOX_FULL, r"(?:quota|storage|mailbox size)(?: limit)?.{0,20}exceeded"),
    (Fault.POLICY, r"sender(?: address)?.{0,10} (?:rejected|denied|blocked)"),
    (Fault.AUTH, r"\b(?:spf|dkim|dmarc|unauthenticated|reverse dns|ptr)\b"),
    (Fault.RATE, r"rate[- ]?limit|too (?:many|much|fast|quickly)|throttl|limit exceeded"),
    (Fault.RATE, r"un(?:usual rate|expected volume)|\bat a rate\b|slow(?:er| down)\b|\bTSS?0\d"),
    (Fault.POLICY, r"block(?:ed|[- ]?list)|black-?list|deny-?list|spamhaus|\brbl\b|dnsbl|reputation"),
    (
        Fault.RECIPIENT,
        r"\b(?:user|recipient|mailbox|account)\b.{0,30}\b(?:unknown|not found|does ?n[o']t exist|rejected|unavailable|disabled)\b",
    ),
    (Fault.RECIPIENT, r"(?:unknown|no such|invalid|non-?existent) (?:user|recipient|mailbox|address|local)"),
    (Fault.CONTENT, r"\bspam\b|virus|malware|phish|attachment|content|message (?:size|too)"),
    (Fault.AUTH, r"authenticat|log ?in\b|credential|must issue a starttls"),
)
_BY_WORDS: Final = tuple((re.compile(words, re.IGNORECASE), fault) for fault, words in _WORDS)

_BY_CODE: Final = {
    421: Fault.RELAY,
    451: Fault.RELAY,
    454: Fault.AUTH,
    521: Fault.RELAY,
    530: Fault.AUTH,
    534: Fault.AUTH,
    535: Fault.AUTH,
    538: Fault.AUTH,
    556: Fault.RECIPIENT,
}
_BY_CODE_OF_RECIPIENT: Final = {
    450: Fault.RECIPIENT,
    452: Fault.MAILBOX_FULL,
    550: Fault.RECIPIENT,
    551: Fault.RECIPIENT,
    552: Fault.MAILBOX_FULL,
    553: Fault.RECIPIENT,
}
_BY_CODE_OF_CONTENT: Final = {552: Fault.CONTENT, 554: Fault.CONTENT}

# How long a destination rests, by what it said; else as long as the rules of `destinations` have it.
_RESTS: Final[tuple[tuple[re.Pattern[str], timedelta], ...]] = (
    (re.compile(r"TSS04"), timedelta(hours=2)),
    (re.compile(r"TSS05"), timedelta(hours=4)),
    (re.compile(r"\b[45]\.7\.28\b"), timedelta(minutes=10)),
    (re.compile(r"reputation", re.IGNORECASE), timedelta(minutes=15)),
)


def read(code: int, message: str, stage: Stage) -> Answer:
    """The answer to `stage`; `message` may have several lines, and addresses in it are left out of `text`."""
    words = one_line(message[:_READ_CHARACTERS])
    found = _ENHANCED.match(words)
    subject, detail = (int(found[2]), int(found[3])) if found else (0, 0)
    fault = _fault(code, subject, detail, words, stage)
    scope = _scope(code, subject, fault, words, stage)
    if scope is Scope.PROVIDER and subject == 7 and stage is Stage.MAIL and fault is Fault.POLICY:
        fault = Fault.RATE
    return Answer(
        code=code,
        enhanced=found[0] if found else None,
        text=shortened(f"{code} {without_addresses(words)}", _REASON_CHARACTERS),
        fault=fault,
        scope=scope,
        after=_after(words, scope, fault),
    )


def outcome(answer: Answer, stage: Stage) -> Failed | RetryLater | Uncertain:
    """What has become of a mail that was answered so, which is not a yes."""
    code = str(answer.code)
    if answer.scope is Scope.PROVIDER:
        return RetryLater(
            reason=f"account: {answer.text}",
            after=answer.after,
            provider_wide=True,
            code=code,
            enhanced=answer.enhanced,
            fault=answer.fault,
        )
    if answer.permanent:
        return Failed(reason=answer.text, code=code, enhanced=answer.enhanced, fault=answer.fault)
    if stage is Stage.DOT and not answer.temporary:
        return Uncertain(reason=f"unreadable answer to the final dot: {answer.text}")
    return RetryLater(
        reason=answer.text if answer.temporary else f"unexpected answer: {answer.text}",
        after=answer.after,
        code=code,
        enhanced=answer.enhanced,
        fault=answer.fault,
    )


def _fault(code: int, subject: int, detail: int, words: str, stage: Stage) -> Fault:
    if code in _LOGIN_CODES:
        return Fault.AUTH
    exact = _BY_ENHANCED.get((subject, detail))
    if exact is not None and not _contradicted(subject, detail, words):
        return exact
    for pattern, fault in _BY_WORDS:
        if pattern.search(words):
            return fault
    return exact or _by_code(code, subject, stage)


def _contradicted(subject: int, detail: int, words: str) -> bool:
    """Codes that large providers give a sense of their own."""
    match subject, detail:
        # Exchange Online says `no such user` so.
        case 4, 1:
            return "recipient address rejected" in words.lower()
        # Gmail says so that a mailbox gets too much at once.
        case 2, 1:
            return re.search(r"at a rate|too (?:quickly|many)", words, re.IGNORECASE) is not None
        case _:
            return False


def _by_code(code: int, subject: int, stage: Stage) -> Fault:
    if subject == 7:
        return Fault.POLICY
    if stage is Stage.RECIPIENT and code in _BY_CODE_OF_RECIPIENT:
        return _BY_CODE_OF_RECIPIENT[code]
    if stage in (Stage.DATA, Stage.DOT) and code in _BY_CODE_OF_CONTENT:
        return _BY_CODE_OF_CONTENT[code]
    if code in _BY_CODE:
        return _BY_CODE[code]
    if _PERMANENT <= code <= 504 or subject in (3, 4, 5):
        return Fault.RELAY
    if code in (550, 553, 554):
        return Fault.POLICY
    return Fault.UNKNOWN


def _scope(code: int, subject: int, fault: Fault, words: str, stage: Stage) -> Scope:
    if stage is Stage.CONNECT or code in _LOGIN_CODES:
        return Scope.PROVIDER
    if code == _NO_TLS_NOW:
        # Relays use it also for a recipient that they do not serve at present.
        about_us = stage is not Stage.RECIPIENT or re.search(r"\bTLS\b|authenticat", words, re.IGNORECASE)
        return Scope.PROVIDER if about_us else Scope.MAIL
    if not _TEMPORARY <= code < _PERMANENT or re.search(r"gr[ea]ylist", words, re.IGNORECASE):
        return Scope.MAIL
    if stage is Stage.MAIL:
        # Nobody has heard of a recipient yet.
        return Scope.PROVIDER if subject == 7 or fault is Fault.RATE else Scope.MAIL
    # A single mailbox can have its limits too: x.2.x.
    too_much = fault is Fault.RATE and subject != 2
    # With x.3.x and x.4.x it is the relay itself that goes away.
    closing = code == _CLOSING and subject not in (3, 4)
    return Scope.DESTINATION if too_much or closing else Scope.MAIL


def _after(words: str, scope: Scope, fault: Fault) -> timedelta | None:
    if (asked := _WAIT.search(words)) is not None:
        return min(_spelled_out(asked) + _WAIT_MARGIN, _LONGEST_WAIT)
    match scope:
        case Scope.PROVIDER:
            return _LIMIT_PAUSE if fault is Fault.RATE else _ACCOUNT_PAUSE
        case Scope.DESTINATION:
            return next((rest for pattern, rest in _RESTS if pattern.search(words)), None)
        case Scope.MAIL:
            return None


def _spelled_out(wait: re.Match[str]) -> timedelta:
    if wait["clock"]:
        hours, minutes, seconds = map(int, wait["clock"].split(":"))
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return int(wait["number"]) * _UNITS[wait["unit"].lower()]
