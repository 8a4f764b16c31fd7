"""What every test may rely on."""

from __future__ import annotations

import os

import hypothesis
import pytest

from mailement_cli.local.errors import LocalServerError
from tests.support.servers import AMQP_VARIABLE, DATABASE_VARIABLE, ServersUnderTest, start_servers_under_test

pytest_plugins = ["tests.support.database", "tests.support.brands"]

_SERVERS = pytest.StashKey[ServersUnderTest]()

# How busy a machine is says nothing of the code.
hypothesis.settings.register_profile(
    "here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("here")


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once, before xdist starts its workers, which then inherit where they are."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or any(
        config.getoption(name) for name in ("collectonly", "help", "version", "showfixtures")
    ):
        return
    environ = os.environ  # noqa: TID251 - the workers' environment comes from here
    try:
        servers = start_servers_under_test(environ)
    except LocalServerError as obstacle:
        raise pytest.UsageError(str(obstacle)) from obstacle
    environ[DATABASE_VARIABLE] = servers.database_url
    environ[AMQP_VARIABLE] = servers.amqp_url
    config.stash[_SERVERS] = servers
    print(f"servers under test: {servers.description}")  # noqa: T201


def pytest_unconfigure(config: pytest.Config) -> None:
    servers = config.stash.get(_SERVERS, None)
    if servers is not None:
        servers.stop()
