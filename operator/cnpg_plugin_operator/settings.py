"""What an administrator can set, read from the environment in this one place.

The Helm chart writes these variables; a flag of `run` stands for the variable of its name. A value
that cannot be used stops the start with one sentence.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeVar

from cnpg_plugin_operator.api.durations import parse_duration
from cnpg_plugin_operator.api.spec import Provider, RestartPolicy
from cnpg_plugin_operator.decide.acceptance.acceptance import Grants
from cnpg_plugin_operator.decide.acceptance.issuer_grants import ANY
from cnpg_plugin_operator.decide.registration.restart import Pace
from cnpg_plugin_operator.desired.sidecars import Gate
from cnpg_plugin_operator.errors import SettingsError

PREFIX: Final = "CNPGP_"
"""Of every variable."""


FLAGS: Final[Mapping[str, str]] = {
    "NAMESPACES": "namespaces in which CloudNativePG runs, separated by commas",
    "DEFAULT_TLS_PROVIDER": "spec.tls.provider of plugins that name none",
    "DEFAULT_RESTART_POLICY": "spec.restartPolicy of plugins that name none",
    "RESTART_SETTLE": "how long no further plugin has become ready before a restart",
    "RESTART_SETTLE_MAX": "how long a restart waits for further plugins at most",
    "RESTART_COOLDOWN": "least time between two restarts",
    "CLUSTER_DOMAIN": "DNS domain of the cluster",
    "ALLOWED_CLUSTER_ROLES": "ClusterRoles that plugins may name, separated by commas",
    "ALLOWED_ROLES": "Roles that plugins may name, separated by commas",
    "ALLOWED_SERVICE_ACCOUNTS": "service accounts that plugins may name, separated by commas",
    "ALLOWED_ISSUERS": "issuers that sign any name for plugins, as Kind.group/name; * for all",
    "CLUSTER_ROLE_GRANT_PREFIX": "begins the names of the ClusterRoles that let one be bound",
    "NUDGE_CLUSTERS": "whether Clusters may be annotated for plugins with nudgeClusters",
    "SIDECARS": "whether plugins may run in CloudNativePG's own pod",
    "SIDECAR_GATE_IMAGE": "image of the gate before CloudNativePG's start: the operator's own",
    "SIDECAR_GATE_PULL_POLICY": "when that image is pulled",
    "SIDECAR_GATE_PULL_SECRETS": "names of the Secrets that it is pulled with",
    "SIDECAR_DEADLINE": "how long CloudNativePG's start waits for sidecars",
    "LOG_LEVEL": "debug, info, warning or error",
    "LOG_FORMAT": "json or text",
    "HTTP_ADDRESS": "[host]:port of /healthz, /readyz and /metrics",
}
"""Every variable, without its prefix, and what it sets: `run` has a flag for each."""

_ISSUER: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*\.[a-z0-9][-a-z0-9.]*/[a-z0-9][-a-z0-9.]*")

PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
"""What Kubernetes knows."""


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """Least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's configuration."""

    namespaces: tuple[str, ...] = ("cnpg-system",)
    """`CNPGP_NAMESPACES`: where CloudNativePG runs and this operator has rights."""
    default_tls_provider: Provider = Provider.CERT_MANAGER
    """`CNPGP_DEFAULT_TLS_PROVIDER`: for resources that name none. Never `SECRETS`: which
    ones, only a resource can say."""
    default_restart_policy: RestartPolicy = RestartPolicy.IF_NEEDED
    """`CNPGP_DEFAULT_RESTART_POLICY`: for resources that name none."""
    pace: Pace = Pace()
    """`CNPGP_RESTART_SETTLE`, `CNPGP_RESTART_SETTLE_MAX`, `CNPGP_RESTART_COOLDOWN`."""
    cluster_domain: str = "cluster.local"
    """`CNPGP_CLUSTER_DOMAIN`: last part of a Service's full name, for the server certificate."""
    grants: Grants = Grants()
    """`CNPGP_ALLOWED_CLUSTER_ROLES`, `CNPGP_ALLOWED_ROLES`, `CNPGP_ALLOWED_SERVICE_ACCOUNTS`,
    `CNPGP_ALLOWED_ISSUERS` (each `Kind.group/name`, or `*`), `CNPGP_NUDGE_CLUSTERS`,
    `CNPGP_SIDECARS`."""
    grant_prefix: str = ""
    """`CNPGP_CLUSTER_ROLE_GRANT_PREFIX`: begins the names of the chart's ClusterRoles that
    each let one ClusterRole be bound; empty where the chart makes none."""
    gate: Gate = field(default_factory=Gate)
    """`CNPGP_SIDECAR_GATE_IMAGE` (this operator's own), `CNPGP_SIDECAR_GATE_PULL_POLICY`,
    `CNPGP_SIDECAR_GATE_PULL_SECRETS` (names, comma-separated), `CNPGP_SIDECAR_DEADLINE`."""
    log_level: LogLevel = LogLevel.INFO
    """`CNPGP_LOG_LEVEL`"""
    log_format: LogFormat = LogFormat.JSON
    """`CNPGP_LOG_FORMAT`"""
    http_host: str = ""
    http_port: int = 8080
    """`CNPGP_HTTP_ADDRESS`, `[host]:port`: serves /healthz, /readyz and /metrics."""
    kubeconfig: str | None = None
    """`KUBECONFIG`; without it the pod's service account is used."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises `SettingsError` with the variable and what it may be."""
    defaults = Settings()
    pace = defaults.pace
    host, port = _read_address(environment, defaults)
    return Settings(
        namespaces=_read_list(environment, "NAMESPACES") or defaults.namespaces,
        default_tls_provider=_read_enum(
            environment,
            "DEFAULT_TLS_PROVIDER",
            defaults.default_tls_provider,
            never=(Provider.SECRETS,),
        ),
        default_restart_policy=_read_enum(
            environment, "DEFAULT_RESTART_POLICY", defaults.default_restart_policy
        ),
        pace=Pace(
            settle=_read_duration(environment, "RESTART_SETTLE", pace.settle),
            settle_max=_read_duration(environment, "RESTART_SETTLE_MAX", pace.settle_max),
            cooldown=_read_duration(environment, "RESTART_COOLDOWN", pace.cooldown),
        ),
        cluster_domain=environment.get(f"{PREFIX}CLUSTER_DOMAIN") or defaults.cluster_domain,
        grants=Grants(
            cluster_roles=frozenset(_read_list(environment, "ALLOWED_CLUSTER_ROLES")),
            roles=frozenset(_read_list(environment, "ALLOWED_ROLES")),
            service_accounts=frozenset(_read_list(environment, "ALLOWED_SERVICE_ACCOUNTS")),
            issuers=_read_issuers(environment),
            nudging=_read_flag(environment, "NUDGE_CLUSTERS"),
            sidecars=_read_flag(environment, "SIDECARS", default="true"),
        ),
        grant_prefix=environment.get(f"{PREFIX}CLUSTER_ROLE_GRANT_PREFIX") or "",
        gate=_read_gate(environment, defaults.gate),
        log_level=_read_enum(environment, "LOG_LEVEL", defaults.log_level),
        log_format=_read_enum(environment, "LOG_FORMAT", defaults.log_format),
        http_host=host,
        http_port=port,
        kubeconfig=environment.get("KUBECONFIG") or None,
    )


def _read_list(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    parts = environment.get(PREFIX + name, "").split(",")
    return tuple(part.strip() for part in parts if part.strip())


def _read_issuers(environment: Mapping[str, str]) -> frozenset[str]:
    """Read the issuers that are granted, `Kind.group/name` each, or `*` for all."""
    issuers = frozenset(_read_list(environment, "ALLOWED_ISSUERS"))
    for issuer in issuers - {ANY}:
        if not _ISSUER.fullmatch(issuer):
            raise SettingsError(
                f"{PREFIX}ALLOWED_ISSUERS is {issuer!r}; it lists Kind.group/name, or * for all"
            )
    return issuers


def _read_gate(environment: Mapping[str, str], default: Gate) -> Gate:
    variable = f"{PREFIX}SIDECAR_GATE_PULL_POLICY"
    policy = environment.get(variable) or default.pull_policy
    if policy not in PULL_POLICIES:
        raise SettingsError(f"{variable} is {policy!r}; it can be: {', '.join(PULL_POLICIES)}")
    return Gate(
        image=environment.get(f"{PREFIX}SIDECAR_GATE_IMAGE") or default.image,
        pull_policy=policy,
        deadline=_read_duration(environment, "SIDECAR_DEADLINE", default.deadline),
        pull_secrets=_read_list(environment, "SIDECAR_GATE_PULL_SECRETS"),
    )


def _read_flag(environment: Mapping[str, str], name: str, default: str = "false") -> bool:
    text = environment.get(PREFIX + name) or default
    if text not in ("true", "false"):
        raise SettingsError(f"{PREFIX}{name} is {text!r}; it can be: true, false")
    return text == "true"


Choice = TypeVar("Choice", bound=StrEnum)


def _read_enum(
    environment: Mapping[str, str], name: str, default: Choice, *, never: Sequence[Choice] = ()
) -> Choice:
    text = environment.get(PREFIX + name) or default.value
    choices = {str(choice): choice for choice in type(default) if choice not in never}
    if text not in choices:
        raise SettingsError(f"{PREFIX}{name} is {text!r}; it can be: {', '.join(choices)}")
    return choices[text]


def _read_duration(environment: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    text = environment.get(PREFIX + name)
    if not text:
        return default
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name} is {text!r}; it {error}") from error


def _read_address(environment: Mapping[str, str], defaults: Settings) -> tuple[str, int]:
    text = environment.get(f"{PREFIX}HTTP_ADDRESS")
    if not text:
        return defaults.http_host, defaults.http_port
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:  # noqa: PLR2004 - the range of ports
        raise SettingsError(f"{PREFIX}HTTP_ADDRESS is {text!r}; it must be [host]:port")
    return host.strip("[]"), int(port)
