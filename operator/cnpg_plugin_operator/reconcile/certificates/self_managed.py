"""`tls.provider: SelfManaged`: the operator is the certificate authority; no cert-manager needed.

The chain is the one that cert-manager is asked for: a root that only signs intermediates, an
intermediate that signs the plugins' certificates. The namespace's pass keeps it (`chain`); this
module reads it, and signs the plugin's certificates. All of it lives in Secrets; nothing is kept in
memory, and what is issued when is decided by `decide.certificates`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.secrets import (
    Secret,
    find_cert_manager_marks,
    find_lost_marks,
    read_trust,
)
from cnpg_plugin_operator.decide.certificates.chain import AuthorityFacts, decide_intermediate
from cnpg_plugin_operator.decide.certificates.renewal import (
    PROPAGATION,
    RenewalInput,
    decide_renewal,
    renewal_time,
)
from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.desired.certificates import (
    authority_subject,
    client_subject,
    server_names,
)
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.pairs import build_pair
from cnpg_plugin_operator.pki.issuing import issue_leaf
from cnpg_plugin_operator.reconcile.certificates.authorities import (
    describe_authority,
    is_shared,
    issue_below,
    open_authority,
)
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.workers import Lane
from cnpg_plugin_operator.reconcile.writes import RestoreMarks, TakeOver, WriteSecret

CURVES: Final[Mapping[int, str]] = {256: "P-256", 384: "P-384"}
"""How the curves of ECDSA keys are called, by their bits."""


class SelfManaged:
    """Issues certificates and renews them."""

    def objects(self, _plugin: Plugin, _domain: str) -> list[Object]:
        """Keep nothing but Secrets, which are not applied like other objects."""
        return []

    async def provide_client(self, context: Context) -> PairFacts:
        """Keep the pair of CloudNativePG, and an intermediate of the plugin's own."""
        root, intermediate = context.plugin.authorities
        if context.plugin.has_own_authority and _shared(context, root).owner is None:
            await _provide_intermediate(context, root, intermediate)
        foreign = _find_foreign(context)
        if foreign is not None:
            return foreign
        usable = (_authority(context, name).is_usable for name in context.plugin.authorities)
        context.awaits_chain = not all(usable)
        subject = client_subject(context.plugin)
        return await _provide_leaf(context, context.plugin.client_secret, "client", subject, [])

    async def provide_server(self, context: Context) -> PairFacts:
        """Keep the pair of the plugin."""
        plugin, foreign = context.plugin, _find_foreign(context)
        if foreign is not None:
            return foreign
        dns_names = server_names(
            plugin, context.env.settings.cluster_domain, context.announced_name
        )
        return await _provide_leaf(
            context, plugin.server_secret, "server", plugin.server_name, dns_names
        )

    def explain(self, context: Context) -> Verdict | None:
        """Say that the namespace's pass issues the authority; all else is made within the pass."""
        if not context.awaits_chain:
            return None
        return unknown(Reason.ISSUING, "The operator is issuing the namespace's authority.")

    def renewals(
        self, context: Context, server: PairFacts, client: PairFacts
    ) -> tuple[datetime | None, datetime | None]:
        """Tell when the pairs are going to be renewed."""
        before = context.plugin.spec.tls.renew_before
        leaves = (server.leaf, client.leaf)
        first, second = (renewal_time(leaf, before) if leaf else None for leaf in leaves)
        return first, second


async def _provide_intermediate(context: Context, root_name: str, name: str) -> None:
    """Keep an intermediate that issues to this plugin only, signed by the namespace's root."""
    plugin, now, root = context.plugin, context.now, _authority(context, root_name)
    due = decide_intermediate(_authority(context, name), now, root=root)
    if due.why is not None and root.is_usable:
        subject = authority_subject(plugin.namespace, name)
        issued = issue_below(root_name, context.secrets.get(root_name), subject, now)
        body = build_pair(plugin, name, issued.data)
        await _write(context, body, context.secrets.get(name))
        due = decide_intermediate(_authority(context, name), now, root=root)
    if context.pair(name).owner is None:
        await _restore_marks(context, name)
    context.looks += [due.again] if due.again is not None else []


async def _provide_leaf(
    context: Context, name: str, usage: str, subject: str, dns_names: list[str]
) -> PairFacts:
    """Keep one of the plugin's two pairs."""
    plugin, tls = context.plugin, context.plugin.spec.tls
    intermediate = plugin.authorities[1]
    pair, size = context.pair(name), tls.private_key.effective_size
    if pair.owner is not None:
        return pair
    curve = CURVES.get(size, f"{size}")
    given = RenewalInput(
        pair=pair,
        issuer=_shared(context, intermediate).leaf,
        lifetime=tls.duration,
        renew_before=tls.renew_before,
        requested_at=plugin.renew_requested_at,
        now=context.now,
        key_type=f"RSA {size}" if tls.private_key.algorithm == "RSA" else f"ECDSA {curve}",
        dns_names=frozenset(dns_names),
        issuer_settled=_is_settled(context, pair, usage),
    )
    asked = given.requested_at
    context.looks += [asked] if asked is not None and asked > context.now else []
    if decide_renewal(given) is None:
        await _restore_marks(context, name)
        return pair
    if not _authority(context, intermediate).is_usable:
        return pair
    secret = await context.refresh_secret(name)
    if secret is not None:
        marks = find_cert_manager_marks(secret)
        await context.make(*([TakeOver(plugin, secret, marks)] if marks else []))
        secret = context.secrets[name]
    issue = partial(
        issue_leaf,
        open_authority(intermediate, context.secrets.get(intermediate)),
        common_name=subject,
        dns_names=dns_names,
        usage="server" if usage == "server" else "client",
        algorithm=tls.private_key.algorithm,
        size=size,
        lifetime=tls.duration,
        now=context.now,
    )
    if tls.private_key.algorithm == "RSA":
        # It takes up to seconds, in a thread without the interpreter's lock (cryptography 50).
        async with context.env.aside(Lane.KEY):
            issued = await asyncio.to_thread(issue)
    else:
        issued = issue()
    await _write(context, build_pair(plugin, name, issued.data), secret)
    return context.pair(name)


def _is_settled(context: Context, pair: PairFacts, usage: str) -> bool:
    """Whether the other side trusts what the authority signs.

    CloudNativePG does as soon as it is written, the plugin's pods a while later; unless they trust
    the present pair by the same authority.
    """
    trust = read_trust(
        context.secrets.get(names.children.trust_secret(context.plugin.name)), context.now
    )
    if trust is None:
        return True
    root, intermediate = (_shared(context, name) for name in context.plugin.authorities)
    pool = trust.servers if usage == "server" else trust.clients
    known = {certificate.fingerprint for certificate in pool}
    anchor = (intermediate if context.plugin.has_own_authority else root).leaf
    if anchor is None or anchor.fingerprint not in known:
        return False
    trusted_by = {c.fingerprint for c in (*pair.chain[1:], *pair.authorities)}
    if usage == "server" or anchor.fingerprint in trusted_by or trust.changed_at is None:
        return True
    settles_at = trust.changed_at + PROPAGATION
    context.looks.append(settles_at)
    return context.now >= settles_at


async def _write(context: Context, body: Object, live: Secret | None) -> None:
    await context.make(WriteSecret(body, live))


async def _restore_marks(context: Context, name: str) -> None:
    """Restore labels, owner and uid of one of the plugin's pairs."""
    secret = context.secrets.get(name)
    if secret is not None:
        body = build_pair(context.plugin, name, {})
        marks = find_lost_marks(body, secret)
        await context.make(*([RestoreMarks(body, secret, marks)] if marks else []))


def _find_foreign(context: Context) -> PairFacts | None:
    """Find an authority whose Secret belongs to another owner."""
    pairs = (_shared(context, name) for name in context.plugin.authorities)
    return next((pair for pair in pairs if pair.owner is not None), None)


def _authority(context: Context, name: str) -> AuthorityFacts:
    return describe_authority(_shared(context, name), context.secrets.get(name))


def _shared(context: Context, name: str) -> PairFacts:
    """Read the Secret of an authority; it is the operator's own by its label."""
    secret, pair = context.secrets.get(name), context.pair(name)
    return replace(pair, owner=None) if secret is not None and is_shared(secret) else pair
