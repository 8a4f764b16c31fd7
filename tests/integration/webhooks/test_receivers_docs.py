"""The programs of docs/webhooks/examples judge what the dispatcher sends, in each language that this machine has."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from mailement_common.clock import SystemClock
from mailement_common.ids import EventId
from mailement_webhook_dispatcher.request import Outgoing, SigningSecrets, request_for
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import Sequence as Number
from tests.support.processes import bare_environment

# The first build of a Go program builds what it needs of the standard library.
pytestmark = pytest.mark.timeout(240)

_EXAMPLES = Path(__file__).parents[3] / "docs" / "webhooks" / "examples"
_SECRET = "whsec_" + base64.b64encode(b"\x00\xffk" + b"s" * 29).decode()
_OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
_BODY = '{"event":"subscriber.confirmed","note":"Zoë\\n"}'.encode()
_NOW = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Webhook:
    """One request as it reaches a receiver. `headers`: names in lower case."""

    headers: dict[str, str]
    body: bytes
    secret: str = _SECRET

    def with_header(self, name: str, value: str) -> _Webhook:
        return replace(self, headers={**self.headers, name: value})

    def without(self, name: str) -> _Webhook:
        return replace(self, headers={known: value for known, value in self.headers.items() if known != name})


def _sent(
    profile: Profile = Profile.MAILEMENT, *, ago: timedelta = _NOW, staged: str | None = None
) -> _Webhook:
    outgoing = Outgoing(
        event_id=EventId(UUID(int=7)),
        profile=profile,
        type="subscriber.confirmed",
        body=_BODY,
        sequence=Number(3),
        traceparent=None,
        url="https://receiver.example/",
    )
    secrets = SigningSecrets(active=_SECRET, staged=staged)
    request = request_for(outgoing, secrets=secrets, at=SystemClock().now() - ago)
    return _Webhook(
        headers={name.lower(): value for name, value in request.headers.items()}, body=request.body
    )


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("go") / "verify"
    subprocess.run(
        ["go", "build", "-o", built, _EXAMPLES / "verify.go"],
        check=True,
        env=bare_environment({"GO111MODULE": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}),
    )
    return built


_Run = Callable[..., tuple[int, str]]
_INTERPRETERS = {
    "verify.py": sys.executable,
    "verify.php": "php",
    "verify.mjs": "node",
    "verify.go": "go",
    "verify.sh": "sh",
}


@pytest.fixture(params=_INTERPRETERS)
def run(request: pytest.FixtureRequest) -> _Run:
    """Runs the example of one language: exit code, and what it printed."""
    name = request.param
    interpreter = _INTERPRETERS[name]
    for program in (interpreter, "openssl") if interpreter == "sh" else (interpreter,):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine")
    command: Sequence[str | Path] = [interpreter, _EXAMPLES / name]
    if interpreter == "go":
        command = [request.getfixturevalue("go_program")]

    def verify(check: str, webhook: _Webhook, *folder: Path) -> tuple[int, str]:
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in webhook.headers.items()}
        ran = subprocess.run(
            [*command, check, *folder],
            check=False,
            input=webhook.body,
            capture_output=True,
            env=bare_environment({**headers, "WEBHOOK_SECRET": webhook.secret}),
        )
        assert ran.stderr == b""
        return ran.returncode, ran.stdout.decode().strip()

    return verify


_GENUINE = 0, "first"
_NOT = 1, ""


def test_what_the_dispatcher_sends_is_genuine(run: _Run) -> None:
    assert run("standard", _sent()) == _GENUINE
    assert run("body", _sent(Profile.MAILEMENT)) == _GENUINE
    assert run("body", _sent(Profile.MAILY)) == _GENUINE


@pytest.mark.parametrize("check", ["standard", "body"])
def test_the_secret_of_somebody_else_does_not_fit(run: _Run, check: str) -> None:
    assert run(check, replace(_sent(), secret=_OTHER)) == _NOT


@pytest.mark.parametrize("check", ["standard", "body"])
def test_a_secret_without_its_prefix_is_the_same_secret(run: _Run, check: str) -> None:
    assert run(check, replace(_sent(), secret=_SECRET.removeprefix("whsec_"))) == _GENUINE


@pytest.mark.parametrize("check", ["standard", "body"])
@pytest.mark.parametrize("body", [_BODY + b"\n", _BODY.replace(b"confirmed", b"forgotten"), b""])
def test_another_body_does_not_fit(run: _Run, check: str, body: bytes) -> None:
    assert run(check, replace(_sent(), body=body)) == _NOT


@pytest.mark.parametrize("minutes", [6, -6])
def test_a_time_too_far_from_now_is_refused_by_the_standard_check_alone(run: _Run, minutes: int) -> None:
    webhook = _sent(ago=timedelta(minutes=minutes))

    assert run("standard", webhook) == _NOT
    assert run("body", webhook) == _GENUINE


@pytest.mark.parametrize("minutes", [4, -4])
def test_a_clock_may_be_off_by_minutes(run: _Run, minutes: int) -> None:
    assert run("standard", _sent(ago=timedelta(minutes=minutes))) == _GENUINE


@pytest.mark.parametrize("secret", [_SECRET, _OTHER])
def test_one_of_two_signatures_is_enough(run: _Run, secret: str) -> None:
    assert run("standard", replace(_sent(staged=_OTHER), secret=secret)) == _GENUINE


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_without_one_of_its_headers_a_webhook_is_not_genuine(run: _Run, name: str) -> None:
    assert run("standard", _sent().without(name)) == _NOT


def test_without_a_signature_over_the_body_a_webhook_is_not_genuine(run: _Run) -> None:
    assert run("body", _sent().without("x-mailement-signature")) == _NOT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "another"),
        ("webhook-timestamp", "yesterday"),
        ("webhook-timestamp", "9" * 400),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1,é * ="),
        ("webhook-signature", f"v1,{'é' * 44}"),
    ],
)
def test_headers_that_were_tampered_with_are_refused(run: _Run, name: str, value: str) -> None:
    assert run("standard", _sent().with_header(name, value)) == _NOT


@pytest.mark.parametrize("value", ["sha256=", f"sha256={'é' * 64}"])
def test_a_signature_over_the_body_that_was_tampered_with_is_refused(run: _Run, value: str) -> None:
    assert run("body", _sent().with_header("x-mailement-signature", value)) == _NOT


def test_a_copy_is_told_from_the_first(run: _Run, tmp_path: Path) -> None:
    webhook = _sent()

    answers = [run("standard", webhook, tmp_path) for _ in range(3)]

    assert answers == [(0, "first"), (0, "again"), (0, "again")]
