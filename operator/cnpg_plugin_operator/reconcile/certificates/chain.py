"""The part of a namespace's pass that keeps the certificate chains its plugins share.

It is the only writer of them: it applies cert-manager's objects, issues the operator's own
authorities, and deletes a chain that no resource may use any more. It reads a chain only where a
plugin wants it, or where one may be left over.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.ownership import is_managed, owner_of
from cnpg_plugin_operator.cluster.secrets import Secret, find_lost_labels, read
from cnpg_plugin_operator.decide.certificates.chain import (
    ALL_CHAINS,
    CHAINS,
    AuthorityFacts,
    Decide,
    decide_intermediate,
    decide_root,
    find_chains,
    lacks_itself,
)
from cnpg_plugin_operator.desired.certificates import ROOT_LIFETIME, authority_subject, build_chain
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.pairs import build_shared_authority
from cnpg_plugin_operator.pki.issuing import IssuedPair, issue_root
from cnpg_plugin_operator.reconcile.certificates.authorities import (
    issue_below,
    read_shared_authority,
    restore_trust,
)
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.failures import log_failure
from cnpg_plugin_operator.reconcile.pruning import delete
from cnpg_plugin_operator.reconcile.shared import Chains, Wants
from cnpg_plugin_operator.reconcile.stages import Failure, Progress
from cnpg_plugin_operator.reconcile.writes import Apply, RestoreMarks, WriteSecret


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the chains of a namespace."""

    chains: Chains
    wrote: list[str]
    again: list[datetime]
    """When to decide again."""

    @property
    def errors(self) -> list[Exception]:
        """What failed."""
        unpruned = [self.chains.unpruned] if self.chains.unpruned is not None else []
        return [*self.chains.failed.values(), *unpruned]


class ChainKeeper:
    """Keeps the chains of all namespaces."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._present: dict[str, frozenset[Provider]] = {}
        """The chains that may exist in each namespace: any of them before the first look."""

    async def keep(
        self,
        namespace: str,
        resources: Sequence[Mapping[str, Any]],
        wants: Mapping[str, Wants],
    ) -> Kept:
        """Apply what plugins want, delete what none may use; an error is part of the result."""
        run = _Keeping(Progress(self._env), namespace, self._env.clock())
        wanted = {each.chain for each in wants.values() if each.chain is not None}
        present = self._present.get(namespace, ALL_CHAINS) | wanted
        self._present[namespace] = present
        kept, failed = {}, {}
        for provider in sorted(wanted):
            asking = [each for each in wants.values() if each.chain is provider]
            root_only = all(each.root_only for each in asking)
            try:
                kept[provider] = await run.provide(provider, root_only=root_only)
            except Exception as error:  # noqa: BLE001 - the plugins in question report it
                failed[provider] = run.fail(error)
        unused = present - wanted
        if unused:
            unused -= self._find_used(body for body in resources if not _has_left(body, wants))
        try:
            pruned = await run.prune(unused)
        except Exception as error:  # noqa: BLE001 - likewise
            chains = Chains(kept, failed, unpruned=run.fail(error))
        else:
            self._present[namespace] = present - pruned
            left = (body["metadata"]["uid"] for body in resources if _has_left(body, wants))
            chains = Chains(kept, failed, frozenset(left))
        return Kept(chains, run.progress.wrote, run.progress.looks)

    def _find_used(self, resources: Iterable[Mapping[str, Any]]) -> frozenset[Provider]:
        default = self._env.settings.tls_provider
        return frozenset[Provider]().union(*(find_chains(body, default) for body in resources))


def _has_left(body: Mapping[str, Any], wants: Mapping[str, Wants]) -> bool:
    """Whether nothing is left of a deleted resource but the chain that it may have used."""
    metadata = body["metadata"]
    if not metadata.get("deletionTimestamp"):
        return False
    if names.resource.FINALIZER not in (metadata.get("finalizers") or []):
        return True
    declared = wants.get(metadata["name"])
    return declared is not None and declared.leaves and declared.uid == metadata["uid"]


@dataclass(slots=True)
class _Keeping:
    """One pass over the chains of one namespace."""

    progress: Progress
    namespace: str
    now: datetime

    def fail(self, error: Exception) -> Exception:
        log_failure(Failure(Type.CERTIFICATES_READY, error), {"namespace": self.namespace})
        return error

    async def provide(self, provider: Provider, *, root_only: bool) -> tuple[str, ...]:
        """Bring a chain up to date; give the fingerprints of what the operator issued."""
        if provider is Provider.SELF_MANAGED:
            return await self._provide_own(root_only=root_only)
        progress, reader = self.progress, self.progress.env.reader
        parts = [
            part
            for kind in (kinds.ISSUER, kinds.CERTIFICATE)
            for part in await reader.chain_parts(kind, self.namespace)
        ]
        progress.live |= {(part["kind"], part["metadata"]["name"]): part for part in parts}
        for write in map(Apply, build_chain(self.namespace)):
            if write.target not in progress.live:
                progress.live[write.target] = await self._find_free(write.body)
            await progress.make(write)
        return ()

    async def _find_free(self, part: Object) -> Mapping[str, Any] | None:
        """Read a part that is missing, or has lost its label; no other owner may have its name.

        cert-manager would overwrite a Secret of another owner.
        """
        reader, name = self.progress.env.reader, part["metadata"]["name"]
        live = await reader.live(part)
        if live is not None and not is_managed(live):
            raise self._taken(live, part["kind"])
        if live is None and part["kind"] == kinds.CERTIFICATE.kind:
            secret = await reader.secret(self.namespace, name, keys=False)
            if secret is not None and not is_managed(secret.body):
                raise self._taken(secret.body, kinds.SECRET.kind)
        return live

    def _taken(self, body: Mapping[str, Any], kind: str) -> errors.NameTakenError:
        name, owner = body["metadata"]["name"], owner_of(body)
        return errors.NameTakenError(
            f"{kind} {self.namespace}/{name} belongs to {owner}, and the chain of the plugins' "
            "certificates needs that name: rename or delete it, or use another issuer "
            "(spec.tls.issuerRef)"
        )

    async def prune(self, unused: frozenset[Provider]) -> frozenset[Provider]:
        """Delete the chains that nothing uses, and say which; plugins without a resource may."""
        if not unused:
            return unused
        env = self.progress.env
        parts = [part for provider in sorted(unused) for part in CHAINS[provider]]
        found = await env.remover.find_parts(self.namespace, parts)
        if found and await env.reader.has_orphans(self.namespace):
            return frozenset()
        await self.progress.make(*delete(found))
        return unused

    async def _provide_own(self, *, root_only: bool) -> tuple[str, ...]:
        root_name, name = names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE
        secret, root = await self._keep(root_name, decide_root, self._issue_root)
        found = [root]
        if root.is_usable and not root_only:
            subject = authority_subject(self.namespace, name)
            decide = partial(decide_intermediate, root=root)
            issue = partial(issue_below, root_name, secret, subject, self.now)
            found.append((await self._keep(name, decide, lambda _: issue()))[1])
        return tuple(each.pair.leaf.fingerprint if each.pair.leaf else "" for each in found)

    def _issue_root(self, previous: Secret | None) -> IssuedPair:
        """Issue a root that hands its predecessor on as trusted."""
        return issue_root(
            authority_subject(self.namespace, names.children.OWN_ROOT),
            lifetime=ROOT_LIFETIME,
            now=self.now,
            # Only the previous one: a second renewal removes it.
            previous=previous.data.get("tls.crt", b"") if previous is not None else b"",
        )

    async def _restore(self, secret: Secret, facts: AuthorityFacts) -> None:
        """Restore what others have removed from an authority that stays."""
        marks = find_lost_labels(build_shared_authority(self.namespace, secret.name, {}), secret)
        is_lacking = secret.name == names.children.OWN_ROOT and lacks_itself(facts)
        data = restore_trust(secret) if is_lacking else {}
        if marks or data:
            await self.progress.make(RestoreMarks(secret, marks or {}, data))

    async def _keep(
        self, name: str, decide: Decide, issue: Callable[[Secret | None], IssuedPair]
    ) -> tuple[Secret | None, AuthorityFacts]:
        """Issue one authority where that is due, and restore labels that it has lost."""
        progress = self.progress
        secret = await progress.env.reader.secret(self.namespace, name, keys=True)
        facts = read_shared_authority(name, secret)
        due = decide(facts, self.now)
        if due.why is not None:
            body = build_shared_authority(self.namespace, name, issue(secret).data)
            write = WriteSecret(body, secret)
            await progress.make(write)
            secret = read(progress.live[write.target] or body)
            facts = read_shared_authority(name, secret)
            due = decide(facts, self.now)
        elif secret is not None and facts.pair.owner is None:
            await self._restore(secret, facts)
        progress.looks += [due.again] if due.again is not None else []
        return secret, facts
