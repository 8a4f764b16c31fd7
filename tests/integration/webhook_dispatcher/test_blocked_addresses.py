"""The gate at the socket: an address that is not allowed is not dialled, however it is written or found."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailement_webhook_dispatcher.http.exchange import Exchange, FaultKind, Limits
from mailement_webhook_dispatcher.http.resolver import CannotAsk, Resolver
from mailement_webhook_dispatcher.request import Request
from mailement_webhook_dispatcher.sender import Sender
from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.rules.guard import Address, Guard, parse_networks
from tests.support.spellings import denied_hosts, loopback_hosts
from tests.support.webhook_receiver import WebhookReceiver, redirect, self_signed
from tests.support.webhooks import WebhookBrand

_CLOSED = Guard()
_LOCAL = Guard(allow=parse_networks("127.0.0.0/8,0.0.0.0/8,::1"))
_LIMITS = Limits(connect_seconds=3, total_seconds=5)
_REACHING = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0177.0.0.1",
    "0x7f000001",
    "0x7f.0.0.1",
    "0.0.0.0",
    "localhost",
    "LOCALHOST.",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "127.0.0.1.",
]
_NEVER_DIALLED = {FaultKind.BLOCKED_ADDRESS, FaultKind.BAD_URL}


class Liar:
    """Name service of somebody who wants to be let in: each look-up gives the next of the answers that he chose."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)

    async def resolve(self, host: str) -> Sequence[Address]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ip_address(address) for address in answer]

    def close(self) -> None:
        pass


async def _post(
    url: str, guard: Guard, *, resolver: Resolver | None = None, limits: Limits = _LIMITS
) -> Exchange:
    async with Sender(guard, resolver=resolver) as sender:
        return await sender.post(Request(url=url, headers={}, body=b"{}"), limits=limits, reuse=True)


def _fault(exchange: Exchange) -> FaultKind:
    assert exchange.answer is None
    assert exchange.fault is not None
    return exchange.fault.kind


@pytest.mark.parametrize("host", [*_REACHING, "[::1]", "[::]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"])
async def test_loopback_is_refused_in_every_spelling(receiver: WebhookReceiver, host: str) -> None:
    exchange = await _post(f"http://{host}:{receiver.port}/hook", _CLOSED)

    assert _fault(exchange) is FaultKind.BLOCKED_ADDRESS
    assert (receiver.connections, exchange.phases.connect) == (0, None)


@pytest.mark.parametrize("host", _REACHING)
async def test_the_same_spellings_reach_loopback_where_it_is_allowed(
    receiver: WebhookReceiver, host: str
) -> None:
    """Else the test before would prove nothing."""
    exchange = await _post(f"http://{host}:{receiver.port}/hook", _LOCAL)

    assert exchange.answer is not None
    assert exchange.answer.body == b"ok"
    assert len(receiver.requests) == 1


@settings(max_examples=20, deadline=None)
@given(st.lists(loopback_hosts, min_size=20, max_size=20))
def test_no_generated_spelling_of_loopback_reaches_a_listener(hosts: list[str]) -> None:
    async def attack() -> tuple[set[FaultKind], int]:
        async with WebhookReceiver() as receiver, Sender(_CLOSED) as sender:
            requests = (
                Request(url=f"http://{host}:{receiver.port}/", headers={}, body=b"{}") for host in hosts
            )
            exchanges = [await sender.post(each, limits=_LIMITS, reuse=True) for each in requests]
            return {_fault(exchange) for exchange in exchanges}, receiver.connections

    kinds, connections = asyncio.run(attack())

    assert kinds <= _NEVER_DIALLED
    assert connections == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(denied_hosts, min_size=20, max_size=20))
def test_no_generated_spelling_of_a_denied_address_is_dialled(hosts: list[str]) -> None:
    async def attack() -> list[Exchange]:
        async with Sender(_CLOSED) as sender:
            requests = (Request(url=f"http://{host}/", headers={}, body=b"{}") for host in hosts)
            return [await sender.post(each, limits=_LIMITS, reuse=True) for each in requests]

    exchanges = asyncio.run(attack())

    assert {_fault(exchange) for exchange in exchanges} <= _NEVER_DIALLED
    assert {exchange.phases.connect for exchange in exchanges} == {None}


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["127.0.0.1", "::1"],
        ["10.0.0.1", "127.0.0.1"],
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1", "1.1.1.1"],
        ["2606:4700:4700::1111", "::ffff:127.0.0.1"],
    ],
)
async def test_a_name_that_resolves_also_to_a_denied_address_is_refused(
    receiver: WebhookReceiver, addresses: list[str]
) -> None:
    exchange = await _post(f"http://innocent.example:{receiver.port}/", _CLOSED, resolver=Liar(addresses))

    assert _fault(exchange) is FaultKind.BLOCKED_ADDRESS
    assert exchange.fault is not None
    assert "not a public address" in exchange.fault.detail
    assert receiver.connections == 0


async def test_a_name_that_changes_its_address_is_judged_anew_at_each_dial(receiver: WebhookReceiver) -> None:
    """Rebinding: allowed when it is looked up first, the private network the next time."""
    guard = Guard(allow=parse_networks("127.0.0.1"))
    resolver = Liar(["127.0.0.1"], ["127.0.0.2"])
    request = Request(url=f"http://turncoat.example:{receiver.port}/", headers={}, body=b"{}")
    async with Sender(guard, resolver=resolver) as sender:
        first = await sender.post(request, limits=_LIMITS, reuse=False)
        second = await sender.post(request, limits=_LIMITS, reuse=False)

    assert first.answer is not None
    assert _fault(second) is FaultKind.BLOCKED_ADDRESS
    assert len(receiver.requests) == 1


async def test_one_look_up_is_made_for_one_dial(receiver: WebhookReceiver) -> None:
    """What was judged is what is dialled: a second look-up would lead elsewhere."""
    guard = Guard(allow=parse_networks("127.0.0.1"))
    resolver = Liar(["127.0.0.1"], ["169.254.169.254"])

    exchange = await _post(f"http://turncoat.example:{receiver.port}/", guard, resolver=resolver)

    assert exchange.answer is not None


async def test_a_name_that_does_not_resolve_says_so() -> None:
    patient = Limits(connect_seconds=20, total_seconds=20)

    assert _fault(await _post("http://nowhere.invalid/", _CLOSED, limits=patient)) is FaultKind.DNS


async def test_a_name_without_an_address_does_not_resolve() -> None:
    assert _fault(await _post("http://empty.example/", _CLOSED, resolver=Liar([]))) is FaultKind.DNS


async def test_a_look_up_that_could_not_be_made_is_our_fault() -> None:
    class Short:
        async def resolve(self, host: str) -> Sequence[Address]:
            raise CannotAsk("no thread became free")

        def close(self) -> None:
            pass

    exchange = await _post("http://innocent.example/", _CLOSED, resolver=Short())

    assert _fault(exchange) is FaultKind.INTERNAL_ERROR
    assert exchange.fault is not None
    assert exchange.fault.detail == "the host's name could not be looked up: no thread became free"


async def test_an_address_behind_the_fourth_is_judged_too(receiver: WebhookReceiver) -> None:
    allowed = [f"127.0.0.{last}" for last in range(1, 9)]

    exchange = await _post(
        f"http://innocent.example:{receiver.port}/", _LOCAL, resolver=Liar([*allowed, "10.0.0.1"])
    )

    assert _fault(exchange) is FaultKind.BLOCKED_ADDRESS
    assert receiver.connections == 0


async def test_a_dead_name_server_is_given_up_after_the_time_to_connect() -> None:
    class Dead:
        async def resolve(self, host: str) -> Sequence[Address]:
            await asyncio.Event().wait()
            return []

        def close(self) -> None:
            pass

    brief = Limits(connect_seconds=0.2, total_seconds=5)
    exchange = await _post("http://slow.example/", _CLOSED, resolver=Dead(), limits=brief)

    assert _fault(exchange) is FaultKind.DNS
    assert exchange.phases.dns is not None


async def test_a_host_that_does_not_answer_is_given_up_after_the_time_to_connect() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            brief = Limits(connect_seconds=0.3, total_seconds=5)
            exchange = await _post(f"http://127.0.0.1:{port}/", _LOCAL, limits=brief)

    assert _fault(exchange) is FaultKind.CONNECT_TIMEOUT


async def test_a_port_where_nobody_listens_is_refused_by_its_name() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        exchange = await _post(f"http://127.0.0.1:{free.getsockname()[1]}/", _LOCAL)

    assert _fault(exchange) is FaultKind.CONNECT_REFUSED


async def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure(tmp_path: Path) -> None:
    async with WebhookReceiver(tls=self_signed(tmp_path)) as receiver:
        exchange = await _post(f"https://127.0.0.1:{receiver.port}/", _LOCAL)

    assert receiver.requests == []
    assert _fault(exchange) is FaultKind.TLS


async def test_proxies_of_the_environment_are_not_used(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", receiver.url(""))
    monkeypatch.setenv("http_proxy", receiver.url(""))

    assert _fault(await _post("http://10.0.0.1/", _LOCAL)) is FaultKind.BLOCKED_ADDRESS
    assert receiver.requests == []


async def test_a_redirect_into_the_private_network_leads_nowhere(receiver: WebhookReceiver) -> None:
    receiver.behave(redirect("http://169.254.169.254/latest/meta-data/"))

    exchange = await _post(receiver.url(), _LOCAL)

    assert exchange.answer is not None
    assert exchange.answer.status == 307
    assert len(receiver.requests) == 1


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
