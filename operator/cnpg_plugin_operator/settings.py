"""What an administrator can set, read from the environment in this one place.

The Helm chart writes these variables; a flag of `run` replaces the variable of its name. A value
that cannot be used stops the start with one sentence.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar, get_args

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.durations import parse_duration
from cnpg_plugin_operator.api.spec import Provider, RestartPolicy
from cnpg_plugin_operator.cluster.scope import Scope
from cnpg_plugin_operator.decide.acceptance.acceptance import Grants
from cnpg_plugin_operator.decide.acceptance.issuer_grants import ANY
from cnpg_plugin_operator.decide.acceptance.labels import CNPG_DOMAIN
from cnpg_plugin_operator.decide.leadership import LeaseTimes
from cnpg_plugin_operator.decide.registration.restart import Pace
from cnpg_plugin_operator.desired.protection import Pods
from cnpg_plugin_operator.desired.sidecars import Gate
from cnpg_plugin_operator.errors import SettingsError

PREFIX: Final = "CNPGP_"
"""Prefix of every variable."""

FLAGS: Final[Mapping[str, str]] = {
    "NAMESPACES": "namespaces in which CloudNativePG runs, separated by commas",
    "DEFAULT_TLS_PROVIDER": "spec.tls.provider of plugins that name none",
    "DEFAULT_LABELS": "labels of every object of a plugin: key=value,…",
    "DEFAULT_RESTART_POLICY": "spec.cnpg.restartPolicy of plugins that name none",
    "RESTART_SETTLE": "how long a restart waits after the last plugin became ready",
    "RESTART_SETTLE_MAX": "how long a restart waits for other plugins at most",
    "RESTART_COOLDOWN": "minimum time between two restarts",
    "CLUSTER_NAMESPACES": "namespaces of the Clusters, if rights are limited to namespaces",
    "CLUSTER_DOMAIN": "DNS domain of the cluster",
    "ALLOWED_CLUSTER_ROLES": "ClusterRoles that plugins may name, separated by commas",
    "ALLOWED_ROLES": "Roles that plugins may name, separated by commas",
    "ALLOWED_SERVICE_ACCOUNTS": "service accounts that plugins may name, separated by commas",
    "ALLOWED_ISSUERS": "issuers that sign any name for plugins, as Kind.group/name; * for all",
    "CLUSTER_ROLE_GRANT_PREFIX": "prefix of the ClusterRoles that each allow binding one",
    "CLUSTER_REFRESH": "whether Clusters may be annotated for plugins with cnpg.clusterRefresh",
    "TAKE_OVERS": "whether plugins may take over Services that do not belong to this operator",
    "SIDECARS": "whether plugins may run in CloudNativePG's own pod",
    "SIDECAR_GATE_IMAGE": "image of the gate before CloudNativePG's start: the operator's own",
    "SIDECAR_GATE_PULL_POLICY": "when that image is pulled",
    "SIDECAR_GATE_PULL_SECRETS": "names of the Secrets that it is pulled with",
    "SIDECAR_DEADLINE": "how long CloudNativePG's start waits for sidecars",
    "OPERATOR_PODS": "the operator's own pods, as namespace/label=value,…, for NetworkPolicies",
    "LEASE": "namespace/name of the Lease whose holder leads; without it, there is no election",
    "LEASE_IDENTITY": "this process in the Lease: the name of its pod, an underscore and the uid",
    "LEASE_DURATION": "how long standbys wait for the holder after it renewed the Lease",
    "LEASE_RENEW_DEADLINE": "how long the holder tries to renew it before it stops",
    "LEASE_RETRY_PERIOD": "time between two attempts while the Lease is not written",
    "LOG_LEVEL": "debug, info, warning or error",
    "LOG_FORMAT": "json or text",
    "HTTP_ADDRESS": "[host]:port of /healthz, /readyz and /metrics",
    "METRICS_ADDRESS": "[host]:port of /metrics alone, over TLS, for users who may get this URL",
    "METRICS_CERTIFICATE": "directory with tls.crt and tls.key for that port",
}
"""Every variable, without its prefix, and what it sets: `run` has a flag for each."""

LogFormat = Literal["json", "text"]
"""How log lines are written."""

LogLevel = Literal["debug", "info", "warning", "error"]
"""The lowest level that is logged."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's configuration; `_FIELDS` says which variable sets what."""

    namespaces: tuple[str, ...] = ("cnpg-system",)
    """Where CloudNativePG runs and this operator has rights."""
    cluster_namespaces: tuple[str, ...] = ()
    """Where Clusters are looked for by an operator without any cluster-wide right; empty for one
    with such rights, and for all."""
    tls_provider: Provider = Provider.CERT_MANAGER
    """For resources that name none. Never `SECRETS`, because only a resource can name them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of every object of a plugin; a resource's own labels win."""
    restart_policy: RestartPolicy = RestartPolicy.IF_NEEDED
    """For resources that name none."""
    pace: Pace = Pace()
    cluster_domain: str = "cluster.local"
    """Last part of a Service's full name, for the server certificate."""
    grants: Grants = Grants()
    grant_prefix: str = ""
    """Prefix of the names of the chart's ClusterRoles that each allow binding one ClusterRole;
    empty where the chart creates none."""
    gate: Gate = field(default_factory=Gate)
    operator_pods: Pods | None = None
    """The operator's own; None where they are not known, and so no NetworkPolicy can admit them."""
    lease: tuple[str, str] | None = None
    """Namespace and name of the operator's own Lease; None for no leader election."""
    lease_identity: str = ""
    """Empty for one that no other process ever had."""
    lease_times: LeaseTimes = field(default_factory=LeaseTimes)
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"
    http_address: tuple[str, int] = ("", 8080)
    """Host, empty for all, and port: serves /healthz, /readyz and /metrics."""
    metrics_address: tuple[str, int] | None = None
    """Serves /metrics instead, over TLS, to users who may get this URL; None where it does not."""
    metrics_certificate: str = ""
    """Directory with `tls.crt` and `tls.key` for that address."""
    kubeconfig: str | None = None
    """`KUBECONFIG`; without it the pod's service account is used."""
    context: str | None = None
    """A context of the kubeconfig; None: the current one."""

    @property
    def scope(self) -> Scope:
        """Where this operator looks."""
        return Scope(self.namespaces, self.cluster_namespaces)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises `SettingsError` with the variable and what it may be."""
    settings = Settings(kubeconfig=environment.get("KUBECONFIG") or None)
    for name, (path, read) in _FIELDS.items():
        text = environment.get(PREFIX + name)
        if not text:
            continue
        try:
            value = read(text)
        except ValueError as error:
            raise SettingsError(f"{PREFIX}{name} is {text!r}; it {error}") from error
        section, _, key = path.rpartition(".")
        if section:
            key, value = section, replace(getattr(settings, section), **{key: value})
        settings = replace(settings, **{key: value})
    if fault := settings.lease_times.find_fault():
        raise SettingsError(f"{PREFIX}LEASE_…: {fault}")
    return settings


def _read_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _read_namespaces(text: str) -> tuple[str, ...]:
    return _read_list(text) or Settings().namespaces


def _read_set(text: str) -> frozenset[str]:
    return frozenset(_read_list(text))


def _read_issuers(text: str) -> frozenset[str]:
    issuers = _read_set(text)
    for issuer in issuers - {ANY}:
        if not _ISSUER.fullmatch(issuer):
            raise ValueError(f"lists Kind.group/name, or * for all; {issuer!r} is neither")
    return issuers


def _read_pods(text: str) -> Pods:
    namespace, slash, labels = text.partition("/")
    pairs = [pair.partition("=") for pair in _read_list(labels)]
    if not (namespace and slash and pairs and all(equals for _, equals, _ in pairs)):
        raise ValueError("must be namespace/label=value,…")
    return Pods(namespace, {key: value for key, _, value in pairs})


def _read_labels(text: str) -> dict[str, str]:
    labels = {}
    for pair in _read_list(text):
        key, _, value = pair.partition("=")
        if not _LABEL.fullmatch(pair):
            raise ValueError(f"lists key=value; {pair!r} is no label")
        if f".{key.partition('/')[0]}".endswith((f".{CNPG_DOMAIN}", f".{names.resource.GROUP}")):
            raise ValueError(f"must not contain {key}, which decides whose plugin an object is")
        labels[key] = value
    return labels


def _read_lease(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise ValueError("must be namespace/name")
    return namespace, name


def _read_flag(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


def _read_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004 - the range of ports
        raise ValueError("must be [host]:port")
    return host.strip("[]"), int(port)


Choice = TypeVar("Choice", bound=str)


def _one_of(*choices: Choice) -> Callable[[str], Choice]:
    """Return a reader that accepts one of these texts."""

    def read(text: str) -> Choice:
        if text not in choices:
            raise ValueError(f"can be: {', '.join(choices)}")
        return choices[choices.index(text)]

    return read


_ISSUER: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*\.[a-z0-9][-a-z0-9.]*/[a-z0-9][-a-z0-9.]*")

_LABEL: Final = re.compile(
    r"([a-z0-9][-a-z0-9.]*/)?{0}=({0})?".format(r"[A-Za-z0-9]([-\w.]{,61}[A-Za-z0-9])?"), re.ASCII
)

_FIELDS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "NAMESPACES": ("namespaces", _read_namespaces),
    "CLUSTER_NAMESPACES": ("cluster_namespaces", _read_list),
    "DEFAULT_TLS_PROVIDER": ("tls_provider", _one_of(Provider.CERT_MANAGER, Provider.SELF_MANAGED)),
    "DEFAULT_LABELS": ("labels", _read_labels),
    "DEFAULT_RESTART_POLICY": ("restart_policy", _one_of(*RestartPolicy)),
    "RESTART_SETTLE": ("pace.settle", parse_duration),
    "RESTART_SETTLE_MAX": ("pace.settle_max", parse_duration),
    "RESTART_COOLDOWN": ("pace.cooldown", parse_duration),
    "CLUSTER_DOMAIN": ("cluster_domain", str),
    "ALLOWED_CLUSTER_ROLES": ("grants.cluster_roles", _read_set),
    "ALLOWED_ROLES": ("grants.roles", _read_set),
    "ALLOWED_SERVICE_ACCOUNTS": ("grants.service_accounts", _read_set),
    "ALLOWED_ISSUERS": ("grants.issuers", _read_issuers),
    "CLUSTER_ROLE_GRANT_PREFIX": ("grant_prefix", str),
    "CLUSTER_REFRESH": ("grants.cluster_refresh", _read_flag),
    "TAKE_OVERS": ("grants.take_overs", _read_flag),
    "SIDECARS": ("grants.sidecars", _read_flag),
    "SIDECAR_GATE_IMAGE": ("gate.image", str),
    "SIDECAR_GATE_PULL_POLICY": ("gate.pull_policy", _one_of("Always", "IfNotPresent", "Never")),
    "SIDECAR_GATE_PULL_SECRETS": ("gate.pull_secrets", _read_list),
    "SIDECAR_DEADLINE": ("gate.deadline", parse_duration),
    "OPERATOR_PODS": ("operator_pods", _read_pods),
    "LEASE": ("lease", _read_lease),
    "LEASE_IDENTITY": ("lease_identity", str),
    "LEASE_DURATION": ("lease_times.duration", parse_duration),
    "LEASE_RENEW_DEADLINE": ("lease_times.renew_deadline", parse_duration),
    "LEASE_RETRY_PERIOD": ("lease_times.retry_period", parse_duration),
    "LOG_LEVEL": ("log_level", _one_of(*get_args(LogLevel))),
    "LOG_FORMAT": ("log_format", _one_of(*get_args(LogFormat))),
    "HTTP_ADDRESS": ("http_address", _read_address),
    "METRICS_ADDRESS": ("metrics_address", _read_address),
    "METRICS_CERTIFICATE": ("metrics_certificate", str),
}
"""Every variable: the field that it sets, and how it is read."""
