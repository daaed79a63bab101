"""`tls.provider: SelfManaged`: the operator is the certificate authority; no cert-manager needed.

The chain is the one that cert-manager is asked for: a root that only signs intermediates, an
intermediate that signs the plugins' certificates. The namespace's pass keeps it (`chain`); this
module reads it, and signs the plugin's certificates. All of it lives in Secrets; nothing is kept in
memory, and what is issued when is decided by `decide.certificates`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.secrets import (
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
from cnpg_plugin_operator.pki.profiles import Usage
from cnpg_plugin_operator.reconcile.certificates.authorities import (
    describe_authority,
    is_shared,
    issue_below,
    open_authority,
)
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.stages import NOTHING, Plan
from cnpg_plugin_operator.reconcile.writes import IssuePair, RestoreMarks, TakeOver, WriteSecret

CURVES: Final[Mapping[int, str]] = {256: "P-256", 384: "P-384"}
"""The names of the curves of ECDSA keys, by their bits."""


class SelfManaged:
    """Issues certificates and renews them."""

    def objects(self, _plugin: Plugin, _domain: str) -> list[Object]:
        """Maintain only Secrets, which are not applied like other objects."""
        return []

    def plan_authority(self, context: Context) -> Plan:
        """Plan an intermediate of the plugin's own."""
        root, intermediate = context.plugin.authorities
        if not context.plugin.has_own_authority or _shared(context, root).owner is not None:
            return NOTHING
        return _plan_intermediate(context, root, intermediate)

    def plan_client(self, context: Context) -> Plan:
        """Plan the pair of CloudNativePG."""
        usable = (_authority(context, name).is_usable for name in context.plugin.authorities)
        if _find_foreign(context) is not None:
            return NOTHING
        context.awaits_chain = not all(usable)
        subject = client_subject(context.plugin)
        return _plan_leaf(context, context.plugin.client_secret, "client", subject, ())

    def plan_server(self, context: Context) -> Plan:
        """Plan the pair of the plugin."""
        plugin = context.plugin
        if _find_foreign(context) is not None:
            return NOTHING
        dns_names = server_names(
            plugin, context.env.settings.cluster_domain, context.announced_name
        )
        subject = plugin.server_name
        return _plan_leaf(context, plugin.server_secret, "server", subject, tuple(dns_names))

    def read(self, context: Context, name: str) -> PairFacts:
        """Read one of the pairs, or an authority that belongs to another owner."""
        return _find_foreign(context) or context.pair(name)

    def explain(self, context: Context) -> Verdict | None:
        """Say that the namespace's pass issues the authority; all else is made within the pass."""
        if not context.awaits_chain:
            return None
        return unknown(Reason.ISSUING, "The operator is issuing the namespace's authority.")

    def renewals(
        self, context: Context, server: PairFacts, client: PairFacts
    ) -> tuple[datetime | None, datetime | None]:
        """Return when the pairs will be renewed."""
        before = context.plugin.spec.tls.renew_before
        leaves = (server.leaf, client.leaf)
        first, second = (renewal_time(leaf, before) if leaf else None for leaf in leaves)
        return first, second


def _plan_intermediate(context: Context, root_name: str, name: str) -> Plan:
    """Keep an intermediate that issues to this plugin only, signed by the namespace's root."""
    plugin, now, root = context.plugin, context.now, _authority(context, root_name)
    due = decide_intermediate(_authority(context, name), now, root=root)
    looks = (due.again,) if due.again is not None else ()
    if due.why is None or not root.is_usable:
        return Plan(writes=_restore_marks(context, name), looks=looks)
    subject = authority_subject(plugin.namespace, name)
    issued = issue_below(root_name, context.secrets.get(root_name), subject, now)
    body = build_pair(plugin, name, issued.data)
    return Plan(writes=(WriteSecret(body, context.secrets.get(name)),), looks=looks)


def _plan_leaf(
    context: Context, name: str, usage: Usage, subject: str, dns_names: tuple[str, ...]
) -> Plan:
    """Maintain one of the plugin's two pairs."""
    plugin, tls = context.plugin, context.plugin.spec.tls
    intermediate = plugin.authorities[1]
    pair, size = context.pair(name), tls.private_key.effective_size
    if pair.owner is not None:
        return NOTHING
    curve = CURVES.get(size, f"{size}")
    settles_at = _settles_at(context, pair, usage)
    issuer = _shared(context, intermediate)
    given = RenewalInput(
        pair=pair,
        issuer=issuer.leaf,
        lifetime=tls.duration,
        renew_before=tls.renew_before,
        requested_at=plugin.renew_requested_at,
        now=context.now,
        key_type=f"RSA {size}" if tls.private_key.algorithm == "RSA" else f"ECDSA {curve}",
        dns_names=frozenset(dns_names),
        roots=frozenset(root.fingerprint for root in issuer.authorities),
        issuer_settled=settles_at is not None and context.now >= settles_at,
    )
    times = (given.requested_at, settles_at)
    looks = tuple(at for at in times if at is not None and at > context.now)
    if decide_renewal(given) is None:
        return Plan(writes=_restore_marks(context, name), looks=looks)
    if not _authority(context, intermediate).is_usable:
        return Plan(looks=looks)
    known = context.secrets.get(name)
    marks = find_cert_manager_marks(known) if known is not None else None
    taken = (TakeOver(known, marks),) if known is not None and marks is not None else ()
    authority = open_authority(intermediate, context.secrets.get(intermediate))
    secret = (kinds.SECRET, plugin.namespace, name)
    issued = IssuePair(*secret, plugin, authority, subject, dns_names, usage, context.now)
    return Plan(writes=(*taken, issued), looks=looks)


def _settles_at(context: Context, pair: PairFacts, usage: Usage) -> datetime | None:
    """Say from when on the other side trusts what the authority signs; None where it does not.

    CloudNativePG does as soon as it is written, the plugin's pods later, unless they trust the
    present pair by the same authority.
    """
    trust = read_trust(
        context.secrets.get(names.children.trust_secret(context.plugin.name)), context.now
    )
    if trust is None:
        return context.now
    root, intermediate = (_shared(context, name) for name in context.plugin.authorities)
    pool = trust.servers if usage == "server" else trust.clients
    known = {certificate.fingerprint for certificate in pool}
    anchor = (intermediate if context.plugin.has_own_authority else root).leaf
    if anchor is None or anchor.fingerprint not in known:
        return None
    trusted_by = {c.fingerprint for c in (*pair.chain[1:], *pair.authorities)}
    if usage == "server" or anchor.fingerprint in trusted_by or trust.changed_at is None:
        return context.now
    return trust.changed_at + PROPAGATION


def _restore_marks(context: Context, name: str) -> tuple[RestoreMarks, ...]:
    """Restore labels, owner and uid of one of the plugin's own Secrets."""
    secret = context.secrets.get(name)
    if secret is None or context.pair(name).owner is not None:
        return ()
    marks = find_lost_marks(build_pair(context.plugin, name, {}), secret)
    return (RestoreMarks(secret, marks),) if marks is not None else ()


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
