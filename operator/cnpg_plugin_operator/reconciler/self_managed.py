"""`tls.provider: SelfManaged`: the operator is the certificate authority; no cert-manager needed.

The chain is the one that cert-manager is asked for: a root that only signs intermediates, an
intermediate that signs the plugins' certificates. All of it lives in Secrets; nothing is kept in
memory, and what is issued when is decided by `decide.renewing`.
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
from cnpg_plugin_operator.decide.facts import PairFacts
from cnpg_plugin_operator.decide.renewing import (
    BACKDATE,
    PROPAGATION,
    RenewalInput,
    decide_renewal,
    renewal_time,
)
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
from cnpg_plugin_operator.reconciler.slots import Lane
from cnpg_plugin_operator.reconciler.work import Work

CURVES: Final[Mapping[int, str]] = {256: "P-256", 384: "P-384"}
"""How the curves of ECDSA keys are called, by their bits."""


class SelfManaged:
    """Issues certificates and renews them."""

    def objects(self, _plugin: Plugin, _domain: str) -> tuple[list[Object], list[Object]]:
        """Keep nothing but Secrets, which are not applied like other objects."""
        return [], []

    async def provide_client(self, work: Work) -> PairFacts:
        """Keep the authorities and the pair of CloudNativePG."""
        root, intermediate = work.plugin.authorities
        async with work.tools.locks[work.plugin.namespace]:
            for provide, name in ((_provide_root, root), (_provide_intermediate, intermediate)):
                pair = await provide(work, name)
                if pair.owner is not None:
                    return pair
        subject = client_subject(work.plugin)
        return await _provide_leaf(work, work.plugin.client_secret, "client", subject, [])

    async def provide_server(self, work: Work) -> PairFacts:
        """Keep the pair of the plugin."""
        plugin = work.plugin
        for name in plugin.authorities:
            authority = _shared(work, name)
            if authority.owner is not None:
                return authority
        dns_names = server_names(plugin, work.tools.policy.cluster_domain, work.announced_name)
        return await _provide_leaf(
            work, plugin.server_secret, "server", plugin.server_name, dns_names
        )

    def explain(self, _: Work) -> Verdict | None:
        """Nothing is ever under way: certificates are made within the pass."""
        return None

    def renewals(
        self, work: Work, server: PairFacts, client: PairFacts
    ) -> tuple[datetime | None, datetime | None]:
        """Tell when the pairs are going to be renewed."""
        before = work.plugin.spec.tls.renew_before
        leaves = (server.leaf, client.leaf)
        first, second = (renewal_time(leaf, before) if leaf else None for leaf in leaves)
        return first, second


async def _provide_root(work: Work, name: str) -> PairFacts:
    """Keep the root; a renewed one hands its predecessors on as trusted."""

    def why(secret: Secret | None, pair: PairFacts) -> str | None:
        return _unfit(secret) or decide_renewal(
            RenewalInput(pair, None, ROOT_LIFETIME, None, _requested(secret), work.now)
        )

    async def issue(secret: Secret | None) -> IssuedPair:
        return issue_root(
            authority_subject(work.plugin.namespace, name),
            lifetime=ROOT_LIFETIME,
            now=work.now,
            # Only the one before it: whoever renews a root twice is rid of it.
            former=secret.data.get("tls.crt", b"") if secret is not None else b"",
        )

    return await _keep(work, name, why, issue)


async def _provide_intermediate(work: Work, name: str) -> PairFacts:
    """Keep the intermediate; it follows a renewed root as soon as that is trusted everywhere."""
    root_name = work.plugin.authorities[0]
    root_pair = _shared(work, root_name)
    settled_at = _settles_at(root_pair, work.now)

    def why(secret: Secret | None, pair: PairFacts) -> str | None:
        given = RenewalInput(
            pair,
            root_pair.leaf,
            INTERMEDIATE_LIFETIME,
            None,
            _requested(secret),
            work.now,
            issuer_settled=work.now >= settled_at,
        )
        if decide_renewal(replace(given, issuer_settled=True)) and work.now < settled_at:
            work.wake.append(settled_at)
        return _unfit(secret) or decide_renewal(given)

    async def issue(_: Secret | None) -> IssuedPair:
        root = _authority(work, root_name)
        return issue_intermediate(
            root,
            authority_subject(work.plugin.namespace, name),
            lifetime=INTERMEDIATE_LIFETIME,
            now=work.now,
            authorities=root.authorities,
        )

    return await _keep(work, name, why, issue)


def _settles_at(root: PairFacts, now: datetime) -> datetime:
    """Say from when on a root is trusted everywhere: the first is from its beginning."""
    if root.leaf is None or len(root.authorities) <= 1:
        return now
    return root.leaf.not_before + BACKDATE + PROPAGATION


async def _keep(
    work: Work,
    name: str,
    why: Callable[[Secret | None, PairFacts], str | None],
    issue: Callable[[Secret | None], Awaitable[IssuedPair]],
) -> PairFacts:
    """Issue an authority where that is due, unless another plugin's pass has just done it."""
    pair = _shared(work, name)
    if pair.owner is None and why(work.secrets.get(name), pair):
        secret = await work.refresh_secret(name)
        pair = _shared(work, name)
        if pair.owner is None and why(secret, pair):
            issued = await issue(secret)
            await _write(work, _build_authority(work, name, issued), secret)
            pair = _shared(work, name)
    if pair.owner is None and name == names.authority(work.plugin.name):
        await _restore_marks(work, name)
    if pair.leaf is not None:
        work.wake.append(renewal_time(pair.leaf, None))
    return pair


async def _provide_leaf(
    work: Work, name: str, usage: str, subject: str, dns_names: list[str]
) -> PairFacts:
    """Keep one of the plugin's two pairs."""
    plugin, tls = work.plugin, work.plugin.spec.tls
    intermediate = plugin.authorities[1]
    pair, size = work.pair(name), tls.private_key.effective_size
    if pair.owner is not None:
        return pair
    curve = CURVES.get(size, f"{size}")
    given = RenewalInput(
        pair=pair,
        issuer=_shared(work, intermediate).leaf,
        lifetime=tls.duration,
        renew_before=tls.renew_before,
        requested_at=plugin.renew_requested_at,
        now=work.now,
        key_type=f"RSA {size}" if tls.private_key.algorithm == "RSA" else f"ECDSA {curve}",
        dns_names=frozenset(dns_names),
        issuer_settled=_is_settled(work, pair, usage),
    )
    asked = given.requested_at
    work.wake += [asked] if asked is not None and asked > work.now else []
    if decide_renewal(given) is None:
        await _restore_marks(work, name)
        return pair
    secret = await work.refresh_secret(name)
    if secret is not None:
        await work.tools.writer.take_over(plugin, secret)
        secret = await work.refresh_secret(name)
    issue = partial(
        issue_leaf,
        _authority(work, intermediate),
        common_name=subject,
        dns_names=dns_names,
        usage="server" if usage == "server" else "client",
        algorithm=tls.private_key.algorithm,
        size=size,
        lifetime=tls.duration,
        now=work.now,
    )
    if tls.private_key.algorithm == "RSA":
        # It takes up to seconds, in a thread without the interpreter's lock (cryptography 50).
        async with work.tools.aside(Lane.KEY):
            issued = await asyncio.to_thread(issue)
    else:
        issued = issue()
    await _write(work, build_pair(plugin, name, issued.data), secret)
    return work.pair(name)


def _is_settled(work: Work, pair: PairFacts, usage: str) -> bool:
    """Whether the other side trusts what the authority signs.

    CloudNativePG does as soon as it is written, the plugin's pods a while later; unless they trust
    the present pair by the same authority.
    """
    trust = read_trust(work.secrets.get(names.trust_secret(work.plugin.name)), work.now)
    if trust is None:
        return True
    root, intermediate = (_shared(work, name) for name in work.plugin.authorities)
    pool = trust.servers if usage == "server" else trust.clients
    known = {certificate.fingerprint for certificate in pool}
    anchor = (intermediate if work.plugin.has_own_authority else root).leaf
    if anchor is None or anchor.fingerprint not in known:
        return False
    trusted_by = {c.fingerprint for c in (*pair.chain[1:], *pair.authorities)}
    if usage == "server" or anchor.fingerprint in trusted_by or trust.changed_at is None:
        return True
    settles_at = trust.changed_at + PROPAGATION
    work.wake.append(settles_at)
    return work.now >= settles_at


async def _write(work: Work, body: Object, live: Secret | None) -> None:
    name = body["metadata"]["name"]
    await work.tools.writer.write_secret(body, live)
    await work.refresh_secret(name)
    work.wrote.append(f"Secret {name}")


async def _restore_marks(work: Work, name: str) -> None:
    """Restore labels, owner and uid of one of the plugin's pairs."""
    secret = work.secrets.get(name)
    if secret is not None:
        body = build_pair(work.plugin, name, {})
        if await work.tools.writer.restore_marks(body, secret):
            await work.refresh_secret(name)
            work.wrote.append(f"Secret {name}")


def _build_authority(work: Work, name: str, issued: IssuedPair) -> Object:
    if name == names.authority(work.plugin.name):
        return build_pair(work.plugin, name, issued.data)
    return build_shared_authority(work.plugin.namespace, name, issued.data)


def _authority(work: Work, name: str) -> Authority:
    """Read an authority that is known to be fit."""
    secret = work.secrets.get(name)
    found = read_authority(secret.data) if secret is not None else None
    if found is None:
        raise errors.ConflictError(f"Secret {work.plugin.namespace}/{name} changed meanwhile")
    return found


def _shared(work: Work, name: str) -> PairFacts:
    """Read the Secret of an authority; it is the operator's own by its label."""
    secret = work.secrets.get(name)
    if secret is not None and names.LABEL_CHAIN in secret.labels:
        managed = secret.labels.get(names.LABEL_MANAGED_BY) == names.OPERATOR
        if managed:
            return replace(work.pair(name), owner=None)
    return work.pair(name)


def _unfit(secret: Secret | None) -> str | None:
    """Say that an existing authority cannot sign; its pair may still look good."""
    if secret is not None and read_authority(secret.data) is None:
        return "it cannot sign"
    return None


def _requested(secret: Secret | None) -> datetime | None:
    return secret.renew_requested_at if secret is not None else None
