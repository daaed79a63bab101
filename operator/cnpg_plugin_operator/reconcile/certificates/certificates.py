"""The stage of certificates: provide the pairs, judge them, say whom both sides trust.

A pair in use is never replaced by one that the other side may not trust yet. CloudNativePG's comes
under another name with each issuer, and is announced once the plugin's pods accept it; the plugin's
own, whose Secret is mounted, is replaced once CloudNativePG trusts the new issuer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
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
from cnpg_plugin_operator.reconcile.certificates.secrets import Brought
from cnpg_plugin_operator.reconcile.certificates.self_managed import SelfManaged
from cnpg_plugin_operator.reconcile.context import Context

Renewals = tuple[datetime | None, datetime | None]


class CertificateProvider(Protocol):
    """Where a plugin's two pairs come from."""

    def objects(self, plugin: Plugin, domain: str) -> list[Object]:
        """Give the objects that are kept for it."""
        ...

    async def provide_client(self, context: Context) -> PairFacts:
        """See to CloudNativePG's pair, and to an authority of the plugin's own; read it."""
        ...

    async def provide_server(self, context: Context) -> PairFacts:
        """See to the plugin's pair; read it."""
        ...

    def explain(self, context: Context) -> Verdict | None:
        """Say what the certificates wait for, if anything."""
        ...

    def renewals(self, context: Context, server: PairFacts, client: PairFacts) -> Renewals:
        """Tell when the pairs are due for renewal, where that is known."""
        ...


PROVIDERS: Final[Mapping[Provider, CertificateProvider]] = {
    Provider.CERT_MANAGER: CertManaged(),
    Provider.SELF_MANAGED: SelfManaged(),
    Provider.SECRETS: Brought(),
}


@dataclass(frozen=True, slots=True)
class Certified:
    """The certificates of a plugin, as this pass leaves them."""

    verdict: Verdict
    server: PairFacts
    client: PairFacts
    renewals: Renewals
    trust: Trust | None = None
    """Whom both sides trust; None where the pairs are not fit."""
    in_use: PairFacts | None = None
    """The pair that CloudNativePG was told to present, where that is another one."""
    material: str = field(default="", kw_only=True)
    """Digest of what the plugin's pods are to have."""


async def certify(context: Context, status: Mapping[str, Any], *, followed: bool) -> Certified:
    """Provide and judge the certificates; `followed` says that all pods have the newest."""
    provider = PROVIDERS[context.plugin.provider]
    if context.wanted_chain is not None:
        context.chains.check(context.wanted_chain)
    client = await provider.provide_client(context)
    in_use = _in_use(context, client)
    held = in_use is not None and _is_usable(context.pair(context.plugin.server_secret))
    if held:
        # CloudNativePG has to trust the new issuer before the plugin presents what it has issued.
        server = context.pair(context.plugin.server_secret)
    else:
        server = await provider.provide_server(context)
    certified = _judge(context, provider, server, client)
    trusted = context.secrets.get(names.children.trust_secret(context.plugin.name))
    if trusted is not None and not belongs_to(context.plugin, trusted):
        certified = replace(certified, verdict=foreign_secret(trusted.name, "another party"))
    if not certified.verdict.is_true:
        return certified
    registered = find_condition(status, Type.REGISTERED).get("status") == "True"
    settled = followed and in_use is None and registered
    given = _trust_input(context, certified, in_use, settled=settled)
    trust = await _trust(context, given)
    if held:
        server = await provider.provide_server(context)
        certified = _judge(context, provider, server, client)
    needed = sorted(c.fingerprint for c in find_needed(given)[1])
    material = digest([_fingerprint(server), needed])
    return replace(certified, trust=trust, in_use=in_use, material=material)


def _judge(
    context: Context, provider: CertificateProvider, server: PairFacts, client: PairFacts
) -> Certified:
    renewals = provider.renewals(context, server, client)
    verdict = decide_certificates(
        CertificateInput(
            server=server,
            client=client,
            server_name=context.plugin.server_name,
            client_ca=context.plugin.spec.tls.client_ca,
            now=context.now,
            renewals=renewals,
        )
    )
    if verdict.is_true:
        check = next_check((server, client), renewals, context.now)
        context.looks += [check] if check is not None else []
    else:
        verdict = provider.explain(context) or verdict
    return Certified(verdict, server, client, renewals)


def _trust_input(
    context: Context, certified: Certified, in_use: PairFacts | None, *, settled: bool
) -> TrustInput:
    plugin = context.plugin
    return TrustInput(
        server=certified.server,
        client=certified.client,
        in_use=in_use,
        client_ca=plugin.spec.tls.client_ca,
        keeps_root=plugin.shares_chain and not plugin.has_own_authority,
        one_issuer=plugin.provider is not Provider.SECRETS,
        signers=_signers(context),
        live=read_trust(context.secrets.get(names.children.trust_secret(plugin.name)), context.now),
        settled=settled,
        now=context.now,
    )


async def _trust(context: Context, given: TrustInput) -> Trust:
    """Keep the Secret of trusted certificates."""
    plugin, trust = context.plugin, decide_trust(given)
    changed_at = format_time(trust.changed_at) if trust.changed_at else None
    servers, clients = ([c.encoded for c in group] for group in (trust.servers, trust.clients))
    await context.apply(build_trust(plugin, servers, clients, changed_at))
    ends = overlap_ends(trust, given.server, given.client)
    context.looks += [ends] if ends is not None and ends > context.now else []
    return trust


def _signers(context: Context) -> tuple[CertificateFacts, ...]:
    """The operator's authority that the plugin's next certificates lead to.

    The namespace's root, or the intermediate of a plugin that is to trust no other.
    """
    authorities = context.plugin.authorities
    if not authorities:
        return ()
    root, intermediate = authorities
    pair = context.pair(intermediate if context.plugin.has_own_authority else root)
    return (pair.leaf,) if pair.leaf is not None else ()


def _in_use(context: Context, client: PairFacts) -> PairFacts | None:
    """The pair that was announced, where it is another one and still fit."""
    name = context.announced_client
    if not name or name == client.secret:
        return None
    pair = context.pair(name)
    return pair if _is_usable(pair) else None


def _is_usable(pair: PairFacts) -> bool:
    return pair.leaf is not None and pair.key_matches


def _fingerprint(pair: PairFacts) -> str:
    return pair.leaf.fingerprint if pair.leaf is not None else ""
