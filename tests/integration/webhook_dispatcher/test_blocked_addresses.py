"""The gate at the socket: an address that is not allowed is not dialled, however it is written or found."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from mailement_webhook_dispatcher.outcome import Answer, Failed, judge
from mailement_webhook_dispatcher.request import Request
from mailement_webhook_dispatcher.sender import Sender
from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.rules.guard import Guard, parse_networks
from tests.support.webhook_receiver import WebhookReceiver, redirect, self_signed
from tests.support.webhooks import WebhookBrand

_CLOSED = Guard()
_LOCAL = Guard(allow=parse_networks("127.0.0.0/8,0.0.0.0/8,::1"))
_REACHING = [
    "127.0.0.1",
    "0x7f000001",
    "0x7f.0.0.1",
    "0.0.0.0",
    "localhost",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "127。0。0。1",
]


class Liar(AbstractResolver):
    """Name service of somebody who wants to be let in: any name is the address that he chose."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    @override
    async def close(self) -> None:
        pass


async def _post(url: str, guard: Guard, **options: Any) -> Any:
    async with Sender(guard, **options) as sender:
        return await sender.post(Request(url=url, headers={}, body=b"{}"))


@pytest.mark.parametrize("host", [*_REACHING, "[::1]", "[::]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"])
async def test_loopback_is_refused_in_every_spelling(receiver: WebhookReceiver, host: str) -> None:
    outcome = judge(await _post(f"http://{host}:{receiver.port}/hook", _CLOSED))

    assert receiver.requests == []
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.BLOCKED_ADDRESS


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0177.0.0.1", "0177.1", "localhost."])
async def test_spellings_that_not_every_resolver_reads_lead_nowhere_either(
    receiver: WebhookReceiver, host: str
) -> None:
    outcome = judge(await _post(f"http://{host}:{receiver.port}/hook", _CLOSED))

    assert receiver.requests == []
    assert isinstance(outcome, Failed)
    assert outcome.reason in {Reason.BLOCKED_ADDRESS, Reason.BAD_URL, Reason.DNS}


@pytest.mark.parametrize("host", _REACHING)
async def test_the_same_spellings_reach_loopback_where_it_is_allowed(
    receiver: WebhookReceiver, host: str
) -> None:
    """Else the test before would prove nothing."""
    answer = await _post(f"http://{host}:{receiver.port}/hook", _LOCAL)

    assert answer == Answer(status=200, body=b"ok")
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "::1"], ["10.0.0.1", "127.0.0.1"]])
async def test_a_name_that_resolves_to_a_denied_address_is_refused(
    receiver: WebhookReceiver, addresses: list[str]
) -> None:
    outcome = judge(
        await _post(f"http://innocent.example:{receiver.port}/", _CLOSED, resolver=Liar(*addresses))
    )

    assert receiver.requests == []
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.BLOCKED_ADDRESS
    assert "not a public address" in outcome.detail


async def test_a_name_that_does_not_resolve_says_so() -> None:
    outcome = judge(await _post("http://nowhere.invalid/", _CLOSED, connect_seconds=20, total_seconds=20))

    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.DNS


async def test_a_host_that_does_not_answer_is_given_up_after_the_time_to_connect() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            outcome = judge(await _post(f"http://127.0.0.1:{port}/", _LOCAL, connect_seconds=0.3))

    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.CONNECT_TIMEOUT


async def test_a_port_where_nobody_listens_is_refused_by_its_name() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        outcome = judge(await _post(f"http://127.0.0.1:{free.getsockname()[1]}/", _LOCAL))

    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.CONNECT_REFUSED


async def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure(tmp_path: Path) -> None:
    async with WebhookReceiver(tls=self_signed(tmp_path)) as receiver:
        outcome = judge(await _post(f"https://127.0.0.1:{receiver.port}/", _LOCAL))

    assert receiver.requests == []
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.TLS


async def test_proxies_of_the_environment_are_not_used(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", receiver.url(""))
    monkeypatch.setenv("http_proxy", receiver.url(""))

    outcome = judge(await _post("http://10.0.0.1/", _LOCAL))

    assert receiver.requests == []
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.BLOCKED_ADDRESS


async def test_a_redirect_into_the_private_network_leads_nowhere(receiver: WebhookReceiver) -> None:
    receiver.behave(redirect("http://169.254.169.254/latest/meta-data/"))

    outcome = judge(await _post(receiver.url(), _LOCAL))

    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.REDIRECT


async def test_a_blocked_delivery_is_recorded_with_the_reason(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching(allow=""):
        (delivery,) = await hooked.settled()

    assert receiver.requests == []
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, Reason.BLOCKED_ADDRESS)
    assert delivery.attempts[0].detail == "127.0.0.1 is not a public address (loopback: 127.0.0.0/8)"
