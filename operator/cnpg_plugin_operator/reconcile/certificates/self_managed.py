"""`tls.provider: SelfManaged`: the operator is the certificate authority; no cert-manager needed.

The chain is the one that cert-manager is asked for: a root that only signs intermediates, an
intermediate that signs the plugins' certificates. All of it lives in Secrets; nothing is kept in
memory, and what is issued when is decided by `decide.certificates.renewal`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.secrets import Secret, read_trust
from cnpg_plugin_operator.decide.certificates.renewal import (
    BACKDATE,
    PROPAGATION,
    RenewalInput,
    decide_renewal,
    renewal_time,
)
from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.desired.certificates import (
    INTERMEDIATE_LIFETIME,
    ROOT_LIFETIME,
    authority_subject,
    client_subject,
    server_names,
)
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.pairs import build_pair, build_shared_authority
from cnpg_plugin_operator.pki.issuing import (
    Authority,
    IssuedPair,
    issue_intermediate,
    issue_leaf,
    issue_root,
    read_authority,
)
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.workers import Lane

CURVES: Final[Mapping[int, str]] = {256: "P-256", 384: "P-384"}
"""How the curves of ECDSA keys are called, by their bits."""


class SelfManaged:
    """Issues certificates and renews them."""

    def objects(self, _plugin: Plugin, _domain: str) -> tuple[list[Object], list[Object]]:
        """Keep nothing but Secrets, which are not applied like other objects."""
        return [], []

    async def provide_client(self, context: Context) -> PairFacts:
        """Keep the authorities and the pair of CloudNativePG."""
        root, intermediate = context.plugin.authorities
        async with context.env.locks[context.plugin.namespace]:
            for provide, name in ((_provide_root, root), (_provide_intermediate, intermediate)):
                pair = await provide(context, name)
                if pair.owner is not None:
                    return pair
        subject = client_subject(context.plugin)
        return await _provide_leaf(context, context.plugin.client_secret, "client", subject, [])

    async def provide_server(self, context: Context) -> PairFacts:
        """Keep the pair of the plugin."""
        plugin = context.plugin
        for name in plugin.authorities:
            authority = _shared(context, name)
            if authority.owner is not None:
                return authority
        dns_names = server_names(
            plugin, context.env.settings.cluster_domain, context.announced_name
        )
        return await _provide_leaf(
            context, plugin.server_secret, "server", plugin.server_name, dns_names
        )

    def explain(self, _: Context) -> Verdict | None:
        """Nothing is ever under way: certificates are made within the pass."""
        return None

    def renewals(
        self, context: Context, server: PairFacts, client: PairFacts
    ) -> tuple[datetime | None, datetime | None]:
        """Tell when the pairs are going to be renewed."""
        before = context.plugin.spec.tls.renew_before
        leaves = (server.leaf, client.leaf)
        first, second = (renewal_time(leaf, before) if leaf else None for leaf in leaves)
        return first, second


async def _provide_root(context: Context, name: str) -> PairFacts:
    """Keep the root; a renewed one hands its predecessors on as trusted."""

    def why(secret: Secret | None, pair: PairFacts) -> str | None:
        return _unfit(secret) or decide_renewal(
            RenewalInput(pair, None, ROOT_LIFETIME, None, _requested(secret), context.now)
        )

    async def issue(secret: Secret | None) -> IssuedPair:
        return issue_root(
            authority_subject(context.plugin.namespace, name),
            lifetime=ROOT_LIFETIME,
            now=context.now,
            # Only the previous one: renewing a root twice removes it.
            former=secret.data.get("tls.crt", b"") if secret is not None else b"",
        )

    return await _keep(context, name, why, issue)


async def _provide_intermediate(context: Context, name: str) -> PairFacts:
    """Keep the intermediate; it follows a renewed root as soon as that is trusted everywhere."""
    root_name = context.plugin.authorities[0]
    root_pair = _shared(context, root_name)
    settled_at = _settles_at(root_pair, context.now)

    def why(secret: Secret | None, pair: PairFacts) -> str | None:
        given = RenewalInput(
            pair,
            root_pair.leaf,
            INTERMEDIATE_LIFETIME,
            None,
            _requested(secret),
            context.now,
            issuer_settled=context.now >= settled_at,
        )
        if decide_renewal(replace(given, issuer_settled=True)) and context.now < settled_at:
            context.wake.append(settled_at)
        return _unfit(secret) or decide_renewal(given)

    async def issue(_: Secret | None) -> IssuedPair:
        root = _authority(context, root_name)
        return issue_intermediate(
            root,
            authority_subject(context.plugin.namespace, name),
            lifetime=INTERMEDIATE_LIFETIME,
            now=context.now,
            authorities=root.authorities,
        )

    return await _keep(context, name, why, issue)


def _settles_at(root: PairFacts, now: datetime) -> datetime:
    """Say from when on a root is trusted everywhere: the first is from its beginning."""
    if root.leaf is None or len(root.authorities) <= 1:
        return now
    return root.leaf.not_before + BACKDATE + PROPAGATION


async def _keep(
    context: Context,
    name: str,
    why: Callable[[Secret | None, PairFacts], str | None],
    issue: Callable[[Secret | None], Awaitable[IssuedPair]],
) -> PairFacts:
    """Issue an authority where that is due, unless another plugin's pass has just done it."""
    pair = _shared(context, name)
    if pair.owner is None and why(context.secrets.get(name), pair):
        secret = await context.refresh_secret(name)
        pair = _shared(context, name)
        if pair.owner is None and why(secret, pair):
            issued = await issue(secret)
            await _write(context, _build_authority(context, name, issued), secret)
            pair = _shared(context, name)
    if pair.owner is None and name == names.children.authority(context.plugin.name):
        await _restore_marks(context, name)
    if pair.leaf is not None:
        context.wake.append(renewal_time(pair.leaf, None))
    return pair


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
    context.wake += [asked] if asked is not None and asked > context.now else []
    if decide_renewal(given) is None:
        await _restore_marks(context, name)
        return pair
    secret = await context.refresh_secret(name)
    if secret is not None:
        await context.env.writer.take_over(plugin, secret)
        secret = await context.refresh_secret(name)
    issue = partial(
        issue_leaf,
        _authority(context, intermediate),
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
    context.wake.append(settles_at)
    return context.now >= settles_at


async def _write(context: Context, body: Object, live: Secret | None) -> None:
    name = body["metadata"]["name"]
    await context.env.writer.write_secret(body, live)
    await context.refresh_secret(name)
    context.wrote.append(f"Secret {name}")


async def _restore_marks(context: Context, name: str) -> None:
    """Restore labels, owner and uid of one of the plugin's pairs."""
    secret = context.secrets.get(name)
    if secret is not None:
        body = build_pair(context.plugin, name, {})
        if await context.env.writer.restore_marks(body, secret):
            await context.refresh_secret(name)
            context.wrote.append(f"Secret {name}")


def _build_authority(context: Context, name: str, issued: IssuedPair) -> Object:
    if name == names.children.authority(context.plugin.name):
        return build_pair(context.plugin, name, issued.data)
    return build_shared_authority(context.plugin.namespace, name, issued.data)


def _authority(context: Context, name: str) -> Authority:
    """Read an authority that is known to be fit."""
    secret = context.secrets.get(name)
    found = read_authority(secret.data) if secret is not None else None
    if found is None:
        raise errors.ConflictError(f"Secret {context.plugin.namespace}/{name} changed meanwhile")
    return found


def _shared(context: Context, name: str) -> PairFacts:
    """Read the Secret of an authority; it is the operator's own by its label."""
    secret = context.secrets.get(name)
    if secret is not None and names.labels.CHAIN in secret.labels:
        managed = secret.labels.get(names.labels.MANAGED_BY) == names.resource.OPERATOR
        if managed:
            return replace(context.pair(name), owner=None)
    return context.pair(name)


def _unfit(secret: Secret | None) -> str | None:
    """Say that an existing authority cannot sign; its pair may still look good."""
    if secret is not None and read_authority(secret.data) is None:
        return "it cannot sign"
    return None


def _requested(secret: Secret | None) -> datetime | None:
    return secret.renew_requested_at if secret is not None else None
