"""What docker-compose.yml promises, held without an engine; tools/verify_compose.py proves it with one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from mailement_api.settings import ApiSettings
from mailement_common.settings import EnvSettings
from mailement_drip_scheduler.settings import SchedulerSettings
from mailement_mailer.settings import MailerSettings
from mailement_webhook_dispatcher.settings import DispatcherSettings

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = ("postgres", "rabbitmq")
ONCE = ("migrate",)
SETTINGS: dict[str, type[EnvSettings]] = {
    "api": ApiSettings,
    "drip-scheduler": SchedulerSettings,
    "webhook-dispatcher": DispatcherSettings,
    "mailer": MailerSettings,
}

every_service = pytest.mark.parametrize("name", SERVICES)
own_service = pytest.mark.parametrize("name", [name for name in SERVICES if name not in SERVERS])
lasting_service = pytest.mark.parametrize("name", [name for name in SERVICES if name not in ONCE])


def test_every_service_of_ours_is_there() -> None:
    assert set(SERVICES) == {*SERVERS, *ONCE, *SETTINGS}
    for name in SETTINGS:
        assert SERVICES[name]["command"] == ["run", name]


@own_service
def test_ours_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "devices", "pid", "ipc", "network_mode"} & set(service)
    assert [mount for mount in service["tmpfs"] if mount.startswith("/tmp:")]


@own_service
def test_ours_writes_to_volumes_only(name: str) -> None:
    sources = [volume.split(":")[0] for volume in SERVICES[name].get("volumes", [])]
    assert set(sources) <= set(COMPOSE["volumes"])


@every_service
def test_each_has_limits_rotated_logs_and_no_new_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["cap_drop"] == ["ALL"]


@lasting_service
def test_what_lasts_is_watched_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_starts_after_the_migration_and_has_time_to_drain(name: str) -> None:
    service = SERVICES[name]
    assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    drain_seconds = SETTINGS[name].model_fields["drain_seconds"].default
    assert int(service["stop_grace_period"].removesuffix("s")) > drain_seconds


@every_service
def test_only_the_api_is_published_and_on_loopback(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert ports == (["${MAILEMENT_HTTP_PUBLISH:-127.0.0.1:8080}:8080"] if name == "api" else [])


@pytest.mark.parametrize("name", [*SERVERS, *ONCE, "drip-scheduler"])
def test_what_needs_no_way_out_has_none(name: str) -> None:
    assert SERVICES[name]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


@every_service
def test_no_secret_stands_in_the_environment(name: str) -> None:
    environment: dict[str, str] = SERVICES[name]["environment"] if name != "rabbitmq" else {}
    for variable, value in environment.items():
        if re.search(r"PASS|SECRET|KEY|TOKEN", variable):
            assert variable.endswith("_FILE"), variable
            file = re.search(r"/run/secrets/(\w+)", value)
            assert file is not None
            assert file[1] in SERVICES[name]["secrets"]
        assert not re.search(r"://[^/@]*:[^/@]*@", value), f"{variable} carries a password"


def test_secrets_are_files_and_have_no_defaults() -> None:
    for name, secret in COMPOSE["secrets"].items():
        file = "rabbitmq.conf" if name == "rabbitmq_conf" else name
        assert secret == {"file": f"${{MAILEMENT_SECRETS_DIR:-./deploy/compose/secrets}}/{file}"}


def test_the_public_address_has_no_default() -> None:
    uses = re.findall(r"\$\{MAILEMENT_PUBLIC_URL[^}]*", TEXT)
    assert uses
    assert all(use.startswith("${MAILEMENT_PUBLIC_URL:?") for use in uses)


@pytest.mark.parametrize("name", SETTINGS)
def test_each_variable_is_a_setting(name: str) -> None:
    known = {
        _variable(field_name, field)
        for kind in SETTINGS.values()
        for field_name, field in kind.model_fields.items()
    }
    given = {variable.removesuffix("_FILE") for variable in SERVICES[name]["environment"]}
    assert given <= known


def _variable(field_name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"MAILEMENT_{field_name.upper()}"


def test_images_are_named_by_tag_alone() -> None:
    """A digest would keep a mirror's or a distribution's own build from taking their place."""
    images = {service["image"] for service in SERVICES.values()}
    assert images == {"postgres:17", "rabbitmq:4-management", "mailement:${MAILEMENT_VERSION:-local}"}
