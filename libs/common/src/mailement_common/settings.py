"""Settings from the environment: the only room that reads it.

Names carry the prefix `MAILEMENT_`. `DATABASE_URL` and `AMQP_URL` are honoured as they are. Each setting can
come from a file instead: `MAILEMENT_SECRET_KEYS_FILE=/run/secrets/keys` gives `MAILEMENT_SECRET_KEYS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, StringConstraints, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

PREFIX: Final = "MAILEMENT_"

Port = Annotated[int, Field(ge=0, le=65535)]


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class ConfigurationFaults(Exception):
    """The configuration cannot be used; `faults` names every reason."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands where a file's content should; no field takes it, so that it ends among the faults."""

    variable: str
    reason: str


class _FileSource(PydanticBaseSettingsSource):
    """Reads `<NAME>_FILE` for each of our settings, the convention of container secrets."""

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for name in _environment_names(field, field_name):
            if path := os.environ.get(f"{name}_FILE"):  # noqa: TID251
                return _content(f"{name}_FILE", path), name, False
        return None, field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field_name, field in self.settings_cls.model_fields.items():
            value, name, _ = self.get_field_value(field, field_name)
            if value is not None:
                found[name if field.validation_alias is not None else field_name] = value
        return found


class EnvSettings(BaseSettings):
    """What every group of settings has in common."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FileSource(settings_cls)


def _with_ports(url: str) -> str:
    """Refuses a URL whose port no driver would take; several hosts may stand in one."""
    for place in url.partition("://")[2].partition("/")[0].rpartition("@")[2].split(","):
        port = place.rpartition("]")[2].partition(":")[2]
        if port and not (port.isdecimal() and int(port) <= 65_535):
            raise ValueError("the port is not a number (a password in a URL is percent-encoded)")
    return url


class DatabaseSettings(EnvSettings):
    database_url: Annotated[
        str, StringConstraints(pattern=r"^postgres(ql)?://"), AfterValidator(_with_ports)
    ] = Field(
        validation_alias=AliasChoices("MAILEMENT_DATABASE_URL", "DATABASE_URL"),
        description="PostgreSQL 15 or later, `postgresql://user@host:port/name`.",
    )
    database_password: SecretStr | None = Field(
        default=None, description="Takes the place of the password in the URL; made for `_FILE`."
    )
    database_pool_size: int = Field(default=16, ge=2, le=200, description="Connections per process.")

    @property
    def database_dsn(self) -> str:
        return _with_password(self.database_url, self.database_password)


class BrokerSettings(EnvSettings):
    amqp_url: Annotated[str, StringConstraints(pattern=r"^amqps?://"), AfterValidator(_with_ports)] = Field(
        validation_alias=AliasChoices("MAILEMENT_AMQP_URL", "AMQP_URL"),
        description="RabbitMQ 3.10 or later, `amqp://user:password@host:port/vhost`.",
    )
    amqp_password: SecretStr | None = Field(
        default=None, description="Takes the place of the password in the URL; made for `_FILE`."
    )
    bus_namespace: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")] = Field(
        default="mailement", description="First part of the names of the exchange and the queues."
    )
    event_log_days: int = Field(
        default=14, ge=1, le=3650, description="Days that published events can be looked up and replayed."
    )

    @property
    def amqp_dsn(self) -> str:
        return _with_password(self.amqp_url, self.amqp_password)


class LogSettings(EnvSettings):
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level shown."
    )
    log_format: LogFormat = Field(
        default=LogFormat.JSON, description="`json` for machines, `console` for people."
    )


class SecretSettings(EnvSettings):
    secret_keys: SecretStr = Field(
        description="Keys that seal stored secrets, `id:base64 of 32 bytes`, comma separated; the first one seals."
    )


class PublicSettings(EnvSettings):
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^/]+(/.*[^/])?$")] = Field(
        default="http://127.0.0.1:8080", description="Where subscribers reach the api, for links in mails."
    )


class ServiceSettings(DatabaseSettings, BrokerSettings, LogSettings):
    """What every service needs."""

    ops_host: str = Field(default="127.0.0.1", description="Where `/healthz`, `/readyz`, `/metrics` listen.")
    ops_port: Port = Field(default=9464, description="Their port, internal; 0 picks a free one.")
    drain_seconds: float = Field(
        default=20, ge=1, le=600, description="Longest time between SIGTERM and the end, in seconds."
    )


SettingsT = TypeVar("SettingsT", bound=EnvSettings)


def load(kind: type[SettingsT], overrides: Mapping[str, Any] | None = None) -> SettingsT:
    """The settings of one kind.

    Raises ConfigurationFaults with every fault, by the name of its environment variable.
    """
    try:
        return kind(**(overrides or {}))
    except ValidationError as error:
        raise ConfigurationFaults([_fault(kind, fault) for fault in error.errors()]) from None


def _fault(kind: type[EnvSettings], fault: Any) -> str:  # noqa: ANN401  pydantic's own shape
    if isinstance(fault["input"], _Unreadable):
        return f"{fault['input'].variable}: {fault['input'].reason}"
    if not fault["loc"]:
        return str(fault["msg"])
    return f"{_variable(kind, str(fault['loc'][0]))}: {fault['msg']}"


def _variable(kind: type[EnvSettings], where: str) -> str:
    """The variable that a fault is about: of several, the one that is set."""
    for field_name, field in kind.model_fields.items():
        names = _environment_names(field, field_name)
        if where == field_name or where in names:
            return next((name for name in names if os.environ.get(name)), names[0])  # noqa: TID251
    return where


def _content(variable: str, path: str) -> str | _Unreadable | None:
    """An empty file is as if there were none."""
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as error:
        return _Unreadable(variable, f"cannot be read: {error}")
    except UnicodeDecodeError:
        return _Unreadable(variable, f"{path} is not text in UTF-8")


def _environment_names(field: FieldInfo, field_name: str) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [f"{PREFIX}{field_name.upper()}"]


def _with_password(url: str, password: SecretStr | None) -> str:
    if password is None:
        return url
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(
        parts._replace(netloc=f"{name}:{quote(password.get_secret_value(), safe='')}@{address}")
    )
