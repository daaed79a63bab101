"""Reads which objects use which Secrets in a namespace, for resources that name some.

Most resources name none, and then nothing is read. Otherwise the named Secrets are read one by one,
never all of the namespace; Services, Issuers and Deployments are listed with one request each.
Parsing is tolerant, because these objects belong to others.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.secret_places import EXCEPTED, find_secrets
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import Client, list_served
from cnpg_plugin_operator.cluster.cnpg import looks_like_cnpg
from cnpg_plugin_operator.cluster.cnpg_environment import flag_values
from cnpg_plugin_operator.decide.acceptance.private_secrets import (
    SECRETS_LIMIT,
    Claim,
    PrivateSecrets,
)
from cnpg_plugin_operator.decide.facts.cnpg_versions import manager_of
from cnpg_plugin_operator.desired.protection import Pods

ACCOUNT_TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secret
BOOTSTRAP_TOKEN: Final = "bootstrap.kubernetes.io/token"  # noqa: S105 - a type of Secret
HELM_RELEASE: Final = "helm.sh/release"
"""Prefix of the type of Secrets in which Helm stores a release with all its values."""

ACCOUNT_ANNOTATION: Final = "kubernetes.io/service-account.name"
NEXT_KEY: Final = "cert-manager.io/next-private-key"
"""Label of the Secret in which cert-manager stores a key until its certificate is issued."""

Object = Mapping[str, Any]


def named_in(spec: object) -> frozenset[str]:
    """Return the Secrets that the spec of a resource names, whatever it contains."""
    spec = spec if isinstance(spec, Mapping) else {}
    return provided_in(spec) | {name for _, name in find_secrets(spec)}


def provided_in(spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the pair in `tls.secrets`, whatever the spec contains."""
    tls = spec.get("tls")
    provided = tls.get("secrets") if isinstance(tls, Mapping) else None
    found = provided.values() if isinstance(provided, Mapping) else ()
    return frozenset(name for name in found if isinstance(name, str) and name)


async def read_private_secrets(
    client: Client,
    plugin: Plugin,
    named: Collection[str],
    siblings: Iterable[Object],
    cnpg: Collection[str],
    *,
    operator: Pods | None = None,
    wide: bool = True,
) -> PrivateSecrets:
    """Read the uses of some Secrets; `cnpg` are the names of CloudNativePG's Deployments.

    `operator` are this operator's own pods. Without cluster-wide rights, what ClusterIssuers sign
    with is not known.
    """
    if not named:
        return PrivateSecrets()
    wanted, namespace = sorted(named), plugin.namespace
    deployments, services, issuers, cluster_issuers, *secrets = await asyncio.gather(
        client.list(kinds.DEPLOYMENT, namespace),
        client.list(kinds.SERVICE, namespace),
        list_served(client, kinds.ISSUER, namespace),
        _list_cluster_issuers(client, wide=wide),
        *(client.find(kinds.SECRET, name, namespace) for name in wanted),
    )
    own = [body for body in deployments if _name(body) in cnpg or _is_cnpg(body)]
    found = (
        *((name, "it is CloudNativePG's own") for name in names.cnpg.PRIVATE_SECRETS),
        *(pair for body in own for pair in _used_by_cnpg(body)),
        *(pair for body in deployments for pair in _used_by_operator(body, namespace, operator)),
        *(pair for body in services if not _is_taken(plugin, body) for pair in _announced(body)),
        *(pair for body in issuers for pair in _used_by_issuer("Issuer", body)),
        *(pair for body in cluster_issuers for pair in _used_by_issuer("ClusterIssuer", body)),
    )
    # The first reason counts: CloudNativePG's, this operator's, a plugin's, then an issuer's.
    used = dict(reversed(found))
    read = {_name(body): _read_reason(body) for body in secrets if body is not None}
    return PrivateSecrets(used, read, tuple(_read_claim(body) for body in siblings))


async def _list_cluster_issuers(client: Client, *, wide: bool) -> list[dict[str, Any]]:
    return await list_served(client, kinds.CLUSTER_ISSUER, None) if wide else []


def bound(named: Collection[str]) -> Collection[str]:
    """Drop the names of a resource that is refused because it names too many Secrets."""
    return named if len(named) <= SECRETS_LIMIT else ()


def _name(body: Object) -> str:
    return str(body["metadata"]["name"])


def _is_cnpg(deployment: Object) -> bool:
    """Whether a Deployment is CloudNativePG's; a plugin's may be made to look like it."""
    return not _is_plugins(deployment) and looks_like_cnpg(deployment)


def _is_plugins(deployment: Object) -> bool:
    """Whether a Deployment runs a plugin of this operator, whose author chooses its labels."""
    labels = deployment["metadata"].get("labels") or {}
    return bool(labels.get(names.labels.MANAGED_BY) == names.resource.OPERATOR)


def _pod_template(deployment: Object) -> Mapping[str, Any]:
    return (deployment.get("spec") or {}).get("template") or {}


def _used_by_operator(
    deployment: Object, namespace: str, operator: Pods | None
) -> Iterator[tuple[str, str]]:
    """Find the Secrets of this operator's own pod, where it runs in the plugins' namespace."""
    if operator is None or operator.namespace != namespace or _is_plugins(deployment):
        return
    template = _pod_template(deployment)
    if operator.labels.items() <= ((template.get("metadata") or {}).get("labels") or {}).items():
        yield from _used_by_pod(template.get("spec") or {}, "the operator")


def _used_by_pod(pod: Mapping[str, Any], owner: str) -> Iterator[tuple[str, str]]:
    yield from ((name, f"{owner}'s own pod uses it") for _, name in find_secrets(pod))
    for item in pod.get(EXCEPTED) or []:
        yield str(item.get("name")), f"{owner}'s image is pulled with it"


def _used_by_cnpg(deployment: Object) -> Iterator[tuple[str, str]]:
    """Find the Secrets of CloudNativePG's pod without its sidecars, which are plugins."""
    own = {
        field: [item for item in value if not _is_sidecars(item)]
        if isinstance(value, list)
        else value
        for field, value in (_pod_template(deployment).get("spec") or {}).items()
    }
    yield from _used_by_pod(own, "CloudNativePG")
    manager = manager_of(deployment)
    arguments = [*(manager.get("command") or []), *(manager.get("args") or [])]
    for name in flag_values(arguments, "--secret-name"):
        yield name, "CloudNativePG reads its configuration from it"


def _is_sidecars(item: object) -> bool:
    """Whether this operator added a container or volume to CloudNativePG's pod."""
    name = str(item.get("name") or "") if isinstance(item, Mapping) else ""
    return name.startswith(names.sidecars.PREFIX)


def _is_taken(plugin: Plugin, service: Object) -> bool:
    """Whether the plugin takes over the Service, and so may use its pair."""
    label = (service["metadata"].get("labels") or {}).get(names.cnpg.PLUGIN_NAME)
    mine = (plugin.plugin_name, names.cnpg.retired(plugin.name))
    return _name(service) == plugin.previous_service and label in mine


def _announced(service: Object) -> Iterator[tuple[str, str]]:
    """Find the pairs of a plugin that was deployed by hand; claims cover this operator's."""
    metadata = service["metadata"]
    if (metadata.get("labels") or {}).get(names.labels.MANAGED_BY) == names.resource.OPERATOR:
        return
    annotations = metadata.get("annotations") or {}
    for key in (names.cnpg.CLIENT_SECRET, names.cnpg.SERVER_SECRET):
        if annotations.get(key):
            yield str(annotations[key]), f"Service {_name(service)} names it for another plugin"


def _used_by_issuer(kind: str, issuer: Object) -> Iterator[tuple[str, str]]:
    spec = issuer.get("spec") or {}
    signing = {name for _, name in find_secrets({"ca": spec.get("ca")})}
    for _, name in find_secrets(spec):
        does = "signs with it" if name in signing else "authenticates with it"
        yield name, f"{kind} {_name(issuer)} {does}"


def _read_reason(secret: Object) -> str:
    """Return why a Secret is private by its own content, or nothing."""
    metadata, kind = secret["metadata"], str(secret.get("type") or "")
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if kind == ACCOUNT_TOKEN:
        return f"it contains a token of ServiceAccount {annotations.get(ACCOUNT_ANNOTATION)}"
    if kind == BOOTSTRAP_TOKEN:
        return "it contains a token with which nodes join the cluster"
    if kind.startswith(HELM_RELEASE):
        return "Helm stores a release in it"
    if labels.get(names.labels.MANAGED_BY) == names.resource.OPERATOR:
        plugin = labels.get(names.labels.PLUGIN)
        return "the operator keeps it" + (f" for CNPGPlugin {plugin}" if plugin else "")
    if labels.get(NEXT_KEY) == "true":
        return "cert-manager stores a new private key in it"
    return next(filter(None, map(_read_owner, metadata.get("ownerReferences") or [])), "")


def _read_owner(reference: Object) -> str:
    group = str(reference.get("apiVersion") or "").partition("/")[0]
    kind, name = reference.get("kind"), reference.get("name")
    if group in (names.cnpg.GROUP, names.resource.GROUP):
        return f"{kind} {name} owns it"
    return ""


def _read_claim(resource: Object) -> Claim:
    spec = resource.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    created = read_time(resource["metadata"].get("creationTimestamp"))
    return Claim(
        plugin=_name(resource),
        created=created or datetime.max.replace(tzinfo=UTC),
        provided=provided_in(spec),
        named=named_in(spec),
    )
