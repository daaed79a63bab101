"""The stage of certificates: provide the pairs, evaluate them, decide whom both sides trust.

A pair in use is never replaced by one that the other side may not trust yet. CloudNativePG's has
another name for each issuer, and is announced once the plugin's pods accept it; the plugin's own,
whose Secret is mounted, is replaced once CloudNativePG trusts the new issuer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Type, Verdict, find_condition
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.cluster.secrets import belongs_to, read_trust
from cnpg_plugin_operator.decide.certificates.certificates import (
    CertificateInput,
    decide_certificates,
    foreign_secret,
)
from cnpg_plugin_operator.decide.certificates.expiry import next_check
from cnpg_plugin_operator.decide.certificates.trust import (
    TrustInput,
    decide_trust,
    find_needed,
    overlap_ends,
)
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts, Trust
from cnpg_plugin_operator.desired.objects import Object, digest
from cnpg_plugin_operator.desired.trust import build_trust
from cnpg_plugin_operator.reconcile.certificates.cert_manager import CertManaged
from cnpg_plugin_operator.reconcile.certificates.secrets import UserSecrets
from cnpg_plugin_operator.reconcile.certificates.self_managed import SelfManaged
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.stages import NOTHING, Plan, Step
from cnpg_plugin_operator.reconcile.writes import Apply

Renewals = tuple[datetime | None, datetime | None]


class CertificateProvider(Protocol):
    """The source of a plugin's two pairs."""

    def objects(self, plugin: Plugin, domain: str) -> list[Object]:
        """Give the objects that are kept for it."""
        ...

    def plan_authority(self, context: Context) -> Plan:
        """Plan an authority of the plugin's own."""
        ...

    def plan_client(self, context: Context) -> Plan:
        """Plan CloudNativePG's pair."""
        ...

    def plan_server(self, context: Context) -> Plan:
        """Plan the plugin's pair."""
        ...

    def read(self, context: Context, name: str) -> PairFacts:
        """Read one of the pairs."""
        ...

    def explain(self, context: Context) -> Verdict | None:
        """Return what the certificates wait for, if anything."""
        ...

    def renewals(self, context: Context, server: PairFacts, client: PairFacts) -> Renewals:
        """Return when the pairs are due for renewal, where that is known."""
        ...


PROVIDERS: Final[Mapping[Provider, CertificateProvider]] = {
    Provider.CERT_MANAGER: CertManaged(),
    Provider.SELF_MANAGED: SelfManaged(),
    Provider.SECRETS: UserSecrets(),
}


@dataclass(frozen=True, slots=True)
class Certified:
    """The certificates of a plugin at the end of this pass."""

    verdict: Verdict
    server: PairFacts
    client: PairFacts
    renewals: Renewals
    trust: Trust | None = None
    """Whom both sides trust; None where the pairs are unusable."""
    in_use: PairFacts | None = None
    """The announced pair of CloudNativePG, where that is another one."""
    material: str = field(default="", kw_only=True)
    """Digest of what the plugin's pods should have."""


@dataclass(slots=True)
class Certifying:
    """The steps of the stage."""

    context: Context
    status: Mapping[str, Any]
    followed: bool
    """Whether all pods have the newest certificates."""
    certified: Certified = field(init=False)
    _in_use: PairFacts | None = field(init=False, default=None)
    _given: TrustInput = field(init=False)

    @property
    def steps(self) -> tuple[Step, ...]:
        """In order: each sees what those before it wrote."""
        return (
            self._plan_authority,
            self._plan_client,
            self._plan_server,
            self._judge,
            self._trust,
            self._plan_held_server,
            self._conclude,
        )

    @property
    def _provider(self) -> CertificateProvider:
        return PROVIDERS[self.context.plugin.provider]

    @property
    def _holds_server(self) -> bool:
        """Whether the plugin keeps its pair until CloudNativePG trusts the new issuer."""
        server = self.context.pair(self.context.plugin.server_secret)
        return self._in_use is not None and _is_usable(server)

    async def _plan_authority(self) -> Plan:
        context = self.context
        if context.wanted_chain is not None:
            context.chains.check(context.wanted_chain)
        return self._provider.plan_authority(context)

    async def _plan_client(self) -> Plan:
        return self._provider.plan_client(self.context)

    async def _plan_server(self) -> Plan:
        context = self.context
        client = self._provider.read(context, context.plugin.client_secret)
        self._in_use = _find_in_use(context, client)
        return NOTHING if self._holds_server else self._provider.plan_server(context)

    async def _judge(self) -> Plan:
        self.certified, looks = self._look(keeps_pair=self._holds_server)
        context = self.context
        trusted = context.secrets.get(names.children.trust_secret(context.plugin.name))
        if trusted is not None and not belongs_to(context.plugin, trusted):
            verdict = foreign_secret(trusted.name, "another party")
            self.certified = replace(self.certified, verdict=verdict)
        return Plan(self.certified.verdict, looks=looks)

    async def _trust(self) -> Plan:
        """Maintain the Secret of trusted certificates."""
        context, in_use = self.context, self._in_use
        registered = find_condition(self.status, Type.REGISTERED).get("status") == "True"
        settled = self.followed and in_use is None and registered
        given = self._given = _trust_input(context, self.certified, in_use, settled=settled)
        trust = decide_trust(given)
        self.certified = replace(self.certified, trust=trust)
        changed_at = format_time(trust.changed_at) if trust.changed_at else None
        servers, clients = ([c.encoded for c in group] for group in (trust.servers, trust.clients))
        ends = overlap_ends(trust, given.server, given.client)
        return Plan(
            writes=(Apply(build_trust(context.plugin, servers, clients, changed_at)),),
            looks=(ends,) if ends is not None and ends > context.now else (),
        )

    async def _plan_held_server(self) -> Plan:
        return self._provider.plan_server(self.context) if self._holds_server else NOTHING

    async def _conclude(self) -> Plan:
        found, looks = self._look(keeps_pair=False)
        needed = sorted(c.fingerprint for c in find_needed(self._given)[1])
        self.certified = replace(
            found,
            trust=self.certified.trust,
            in_use=self._in_use,
            material=digest([_fingerprint(found.server), needed]),
        )
        return Plan(self.certified.verdict, looks=looks if self._holds_server else ())

    def _look(self, *, keeps_pair: bool) -> tuple[Certified, tuple[datetime, ...]]:
        """Judge the pairs; a server pair that is held is read as it is."""
        context, provider, plugin = self.context, self._provider, self.context.plugin
        client = provider.read(context, plugin.client_secret)
        server = (context.pair if keeps_pair else partial(provider.read, context))(
            plugin.server_secret
        )
        renewals = provider.renewals(context, server, client)
        verdict = decide_certificates(
            CertificateInput(
                server=server,
                client=client,
                server_name=plugin.server_name,
                client_trust=plugin.spec.tls.client_trust,
                now=context.now,
                renewals=renewals,
            )
        )
        if not verdict.is_true:
            verdict = provider.explain(context) or verdict
            return Certified(verdict, server, client, renewals), ()
        check = next_check((server, client), renewals, context.now)
        looks = (check,) if check is not None else ()
        return Certified(verdict, server, client, renewals), looks


def _trust_input(
    context: Context, certified: Certified, in_use: PairFacts | None, *, settled: bool
) -> TrustInput:
    plugin = context.plugin
    return TrustInput(
        server=certified.server,
        client=certified.client,
        in_use=in_use,
        client_trust=plugin.spec.tls.client_trust,
        keeps_root=plugin.shares_chain and not plugin.has_own_authority,
        one_issuer=plugin.provider is not Provider.SECRETS,
        signers=_signers(context),
        live=read_trust(context.secrets.get(names.children.trust_secret(plugin.name)), context.now),
        previous=_previous_servers(context),
        settled=settled,
        now=context.now,
    )


def _previous_servers(context: Context) -> tuple[CertificateFacts, ...]:
    """What CloudNativePG trusts while another Secret than the plugin's own is announced."""
    name = context.announced_server
    own = names.children.trust_secret(context.plugin.name)
    return context.pair(name).chain if name not in ("", own) else ()


def _signers(context: Context) -> tuple[CertificateFacts, ...]:
    """The operator's authority at the end of the plugin's next certificate chains.

    The namespace's root, or the intermediate of a plugin that should trust no other.
    """
    authorities = context.plugin.authorities
    if not authorities:
        return ()
    root, intermediate = authorities
    pair = context.pair(intermediate if context.plugin.has_own_authority else root)
    return (pair.leaf,) if pair.leaf is not None else ()


def _find_in_use(context: Context, client: PairFacts) -> PairFacts | None:
    """The announced pair, where it is another one and still usable."""
    name = context.announced_client
    if not name or name == client.secret:
        return None
    pair = context.pair(name)
    return pair if _is_usable(pair) else None


def _is_usable(pair: PairFacts) -> bool:
    return pair.leaf is not None and pair.key_matches


def _fingerprint(pair: PairFacts) -> str:
    return pair.leaf.fingerprint if pair.leaf is not None else ""
