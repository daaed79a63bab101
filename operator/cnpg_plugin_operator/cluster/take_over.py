"""Reads the installation that a plugin takes over: its Service, and all that belongs to it.

Nothing is read where a resource takes over nothing. What is found is behind the Service, so it is
found only while the Service has its previous owner; after that the status says what there was, and
is read again until nothing of it is left.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.plugin import Plugin, Resource
from cnpg_plugin_operator.api.status import LEFT_LIMIT, read_left
from cnpg_plugin_operator.api.times import read_recorded_time
from cnpg_plugin_operator.api.untrusted import labels_of, mapping, objects, read_json
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.client import Client, list_served
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.ownership import is_own
from cnpg_plugin_operator.decide.acceptance.labels import matches
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.facts.take_over import (
    Left,
    Previous,
    PreviousDeployment,
    Scaling,
)
from cnpg_plugin_operator.desired.access import account_name
from cnpg_plugin_operator.desired.workload import DEFAULT_ACCOUNT

KINDS: Final[Mapping[str, Kind]] = {
    kind.kind: kind
    for kind in (
        kinds.SERVICE,
        kinds.DEPLOYMENT,
        kinds.SERVICE_ACCOUNT,
        kinds.ROLE_BINDING,
        kinds.CERTIFICATE,
        kinds.ISSUER,
        kinds.SECRET,
    )
}
"""The kinds of what is left, in the order in which they are best deleted."""

ANNOUNCED: Final = (
    names.cnpg.PLUGIN_PORT,
    names.cnpg.SERVER_SECRET,
    names.cnpg.CLIENT_SECRET,
    names.cnpg.SERVER_NAME,
)

Body = Mapping[str, Any]


Scaled = tuple[str, Scaling]
"""Name of a Deployment, and the record of its scaling."""


@dataclass(frozen=True, slots=True)
class Others:
    """What else of the namespace decides whom an object belongs to."""

    cnpg: frozenset[str]
    """CloudNativePG's Deployments."""
    plugins: Mapping[str, str]
    """The other living resources: uid → name."""
    status: Mapping[str, Any]
    """The status of the resource itself, which says what was left."""

    @classmethod
    def among(
        cls,
        siblings: Iterable[Body],
        plugin: Plugin,
        cnpg: Iterable[CNPGFacts],
        status: Mapping[str, Any],
    ) -> "Others":
        """Find them among all resources of the namespace."""
        alive = {body["metadata"]["uid"]: str(body["metadata"]["name"]) for body in siblings}
        alive.pop(plugin.uid, None)
        return cls(frozenset(each.deployment for each in cnpg), alive, status)

    def find_owner(self, body: Body) -> str:
        """Name the living resource that an object belongs to, or nothing."""
        owners = objects(body["metadata"].get("ownerReferences"))
        return next((name for o in owners if (name := self.plugins.get(str(o.get("uid"))))), "")


async def read_previous(
    client: Client,
    plugin: Plugin,
    services: Iterable[Body],
    others: Others,
    now: datetime,
) -> Previous | None:
    """Read the installation that a plugin takes over; None where it takes over none.

    `services` are all of the namespace.
    """
    name = plugin.previous_service
    if not name:
        return None
    known = read_left(others.status)
    service = next((body for body in services if body["metadata"]["name"] == name), None)
    foreign = service is not None and not is_own(plugin, service)
    label = labels_of(service or {}).get(names.cnpg.PLUGIN_NAME)
    published = foreign and label == plugin.plugin_name
    if service is None or not (published or label == names.cnpg.retired(plugin.name)):
        still = await _find_existing(client, plugin, known)
        return Previous(name, foreign=foreign, left=still)
    behind = await _Behind(client, plugin, service, others).read()
    left = await _find_existing(client, plugin, dict.fromkeys((*behind.left, *known)))
    annotations = mapping(service["metadata"].get("annotations"))
    return Previous(
        service=name,
        published=published,
        foreign=foreign,
        plugin=others.find_owner(service),
        announced={key: str(annotations[key]) for key in ANNOUNCED if key in annotations},
        deployments=tuple(_read_deployment(body, now) for body in behind.deployments),
        leases=behind.leases,
        left=left,
        recorded=set(left) <= set(known),
    )


class _Behind:
    """What belongs to a Service of a previous installation."""

    def __init__(self, client: Client, plugin: Plugin, service: Body, others: Others) -> None:
        self._client, self._plugin = client, plugin
        self._service, self._others = service, others
        self.deployments: list[dict[str, Any]] = []
        self._all: list[dict[str, Any]] = []
        self.leases: tuple[str, ...] = ()
        self._bindings: list[dict[str, Any]] = []
        self._certificates: list[dict[str, Any]] = []

    async def read(self) -> "_Behind":
        """Read what may belong to it."""
        namespace, client = self._plugin.namespace, self._client
        selector = selector_of(self._service)
        if not selector:
            return self
        deployments, pods, leases, self._bindings, self._certificates = await asyncio.gather(
            client.list(kinds.DEPLOYMENT, namespace),
            client.list(kinds.POD, namespace, labels=label_selector(selector)),
            client.list(kinds.LEASE, namespace),
            client.list(kinds.ROLE_BINDING, namespace),
            list_served(client, kinds.CERTIFICATE, namespace),
        )
        self._all = deployments
        self.deployments = [d for d in deployments if self._is_behind(d)]
        serving = {pod["metadata"]["name"] for pod in pods}
        self.leases = tuple(
            sorted(
                lease["metadata"]["name"] for lease in leases if observe.holder_of(lease) in serving
            )
        )
        return self

    def _is_behind(self, deployment: Body) -> bool:
        """Whether its pods serve, and it belongs to no resource, nor to CloudNativePG."""
        if deployment["metadata"]["name"] in self._others.cnpg:
            return False
        if is_own(self._plugin, deployment) or self._others.find_owner(deployment):
            return False
        return runs_behind(self._service, deployment)

    @property
    def left(self) -> Iterator[Left]:
        """Name what the plugin does not use, in the order of `KINDS`."""
        for kind, found in (
            (kinds.SERVICE, self._find_service()),
            (kinds.DEPLOYMENT, [d["metadata"]["name"] for d in self.deployments]),
            (kinds.SERVICE_ACCOUNT, self._find_accounts()),
            (kinds.ROLE_BINDING, self._find_bindings()),
            (kinds.CERTIFICATE, [c["metadata"]["name"] for c in self._find_certificates()]),
            (kinds.ISSUER, self._find_issuers()),
            (kinds.SECRET, self._find_secrets()),
        ):
            for name in sorted(found):
                yield kind.kind, self._plugin.namespace, name

    def _find_service(self) -> list[str]:
        return [] if self._plugin.adopts else [self._plugin.previous_service]

    def _find_accounts(self) -> set[str]:
        """Name the accounts that no other Deployment uses."""
        kept = (body for body in self._all if body not in self.deployments)
        used = {DEFAULT_ACCOUNT, account_name(self._plugin), *map(_account, kept)}
        return {_account(body) for body in self.deployments}.difference(used)

    def _find_bindings(self) -> list[str]:
        accounts = self._find_accounts()
        return [
            body["metadata"]["name"]
            for body in self._bindings
            if (subjects := objects(body.get("subjects")))
            and all(
                s.get("kind") == kinds.SERVICE_ACCOUNT.kind and s.get("name") in accounts
                for s in subjects
            )
        ]

    def _find_secrets(self) -> set[str]:
        annotations = mapping(self._service["metadata"].get("annotations"))
        named = {
            annotations.get(names.cnpg.SERVER_SECRET),
            annotations.get(names.cnpg.CLIENT_SECRET),
        }
        return {str(name) for name in named if name} - self._plugin.secrets

    def _find_certificates(self) -> list[dict[str, Any]]:
        secrets = self._find_secrets()
        return [
            c for c in self._certificates if mapping(c.get("spec")).get("secretName") in secrets
        ]

    def _find_issuers(self) -> set[str]:
        """Name the Issuers that issue nothing else."""
        going = self._find_certificates()
        kept = [body for body in self._certificates if body not in going]
        wanted = self._plugin.spec.tls.issuer_ref
        used = {_issuer(body) for body in kept} | {wanted.name if wanted else ""}
        return {name for body in going if (name := _issuer(body))} - used


def selector_of(service: Body) -> Body:
    """Return the labels by which a Service selects pods."""
    return mapping(mapping(service.get("spec")).get("selector"))


def runs_behind(service: Body, deployment: Body) -> bool:
    """Whether a Service selects the pods of a Deployment."""
    template = mapping(mapping(deployment.get("spec")).get("template"))
    return matches(selector_of(service), labels_of(template))


async def _find_existing(client: Client, plugin: Plugin, known: Iterable[Left]) -> tuple[Left, ...]:
    """Drop what is gone, and what the plugin uses by now."""

    async def exists(each: Left) -> bool:
        kind, namespace, name = each
        if kind not in KINDS or namespace != plugin.namespace:
            return False
        if kind == kinds.SECRET.kind and name in plugin.secrets:
            return False
        try:
            body = await client.find(KINDS[kind], name, namespace)
        except (errors.KindMissingError, errors.InvalidNameError):
            return False
        return body is not None and not is_own(plugin, body)

    known = tuple(known)
    found = await asyncio.gather(*map(exists, known))
    still = tuple(each for each, is_left in zip(known, found, strict=True) if is_left)
    return still[:LEFT_LIMIT]


def read_scaled(resource: Resource, deployments: Iterable[Body], now: datetime) -> list[Scaled]:
    """Find the Deployments that are scaled to zero for a resource."""
    read = ((body["metadata"]["name"], _read_deployment(body, now).scaling) for body in deployments)
    return [
        (name, scaling)
        for name, scaling in read
        if scaling is not None
        and scaling.cause.startswith(f"{resource.uid}/")
        and not scaling.restored
    ]


def _read_deployment(body: Body, now: datetime) -> PreviousDeployment:
    record = read_json(
        mapping(body["metadata"].get("annotations")).get(names.annotations.SCALED_DOWN)
    )
    at, replicas = read_recorded_time(record.get("at"), now), record.get("replicas")
    scaling = None
    if at is not None and isinstance(replicas, int):
        scaling = Scaling(
            at, str(record.get("for")), max(replicas, 1), record.get("restored") is True
        )
    wanted = mapping(body.get("spec")).get("replicas")
    return PreviousDeployment(body["metadata"]["name"], 1 if wanted is None else wanted, scaling)


def _account(deployment: Body) -> str:
    pod = mapping(mapping(mapping(deployment.get("spec")).get("template")).get("spec"))
    return str(pod.get("serviceAccountName") or DEFAULT_ACCOUNT)


def _issuer(certificate: Body) -> str:
    """Name the Issuer of a Certificate; empty for an issuer of all namespaces."""
    reference = mapping(mapping(certificate.get("spec")).get("issuerRef"))
    return str(reference.get("name")) if reference.get("kind", "Issuer") == "Issuer" else ""
