"""The pass over a namespace: the only writer of what its plugins share.

It keeps the certificate chains, reads CloudNativePG once for all of them, follows plugins that
change their mode, applies the set of sidecars, and restarts CloudNativePG where plugins need that.
What it read and decided is published to their passes (`shared`). Every pass could be the first.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.plugin import names_sidecar
from cnpg_plugin_operator.cluster.namespace import CNPGSnapshot, NamespaceSnapshot, known
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.sidecar.rollout import Roll
from cnpg_plugin_operator.reconcile.certificates.chain import ChainKeeper
from cnpg_plugin_operator.reconcile.environment import FALLBACK_RETRY, Environment
from cnpg_plugin_operator.reconcile.failures import condition_of, log_failure
from cnpg_plugin_operator.reconcile.records import Records
from cnpg_plugin_operator.reconcile.registration.restart import (
    Restarting,
    plan_restart,
    restart_cnpg,
)
from cnpg_plugin_operator.reconcile.shared import Chains, CNPGView, Shared, Wants
from cnpg_plugin_operator.reconcile.sidecar.candidates import (
    Candidates,
    find_candidates,
    is_accepted,
)
from cnpg_plugin_operator.reconcile.sidecar.mode_change import follow_move
from cnpg_plugin_operator.reconcile.sidecar.pending import Pending
from cnpg_plugin_operator.reconcile.sidecar.rollout import Rolled, SidecarRollout
from cnpg_plugin_operator.reconcile.stages import Failure, Progress, Requeue

logger = logging.getLogger(__name__)

AT_ONCE: Final = 0.1
"""Seconds until the next pass after one that wrote, which checks the result."""

RESYNC: Final = 60.0
"""Seconds until a namespace in which nothing is pending is requeued."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a pass over a namespace came to."""

    views: Mapping[str, CNPGView]
    """By the values of `spec.cnpg.deploymentName`."""
    chains: Chains
    after: float
    """Seconds until the next pass, should nothing wake it."""
    wrote: tuple[str, ...]
    """What was written for CloudNativePG: it has to be seen before anything is published."""
    kept: tuple[str, ...]
    """What was written of the chains."""
    errors: tuple[Exception, ...]
    """What ended parts of the pass."""


class NamespaceReconciler:
    """Reconciles one namespace at a time; the caller serializes the passes of a namespace."""

    def __init__(self, env: Environment, shared: Shared) -> None:
        self._env = env
        self._shared = shared
        self._pending = Pending()
        self._keeper = ChainKeeper(env)

    async def reconcile(self, namespace: str) -> Requeue:
        """Run one pass; an error is published, so that the plugins report it."""
        try:
            judged = await self.judge(namespace)
        except Exception as error:  # noqa: BLE001 - the plugins report it
            log_failure(Failure(condition_of(error), error), {"namespace": namespace})
            self._shared.fail(namespace, error)
            return Requeue(FALLBACK_RETRY, error)
        if judged.wrote or judged.kept:
            wrote = ", ".join([*judged.kept, *judged.wrote])
            logger.info("wrote %s", wrote, extra={"namespace": namespace})
        if judged.wrote:
            return Requeue(AT_ONCE)
        self._shared.publish(namespace, judged.views, judged.chains)
        return Requeue(judged.after, next(iter(judged.errors), None))

    async def judge(self, namespace: str) -> Judged:
        """Run one pass, without publishing what it came to."""
        wants, now = self._shared.wants(namespace), self._env.clock()
        restarting = any(each.restart is not None for each in wants.values())
        seen = await self._env.namespaces.read(namespace, restarting=restarting)
        kept = await self._keeper.keep(namespace, seen.resources, wants)
        run = _Pass(self._env, self._pending, namespace, wants, seen)
        views = await run.run()
        return Judged(
            views,
            kept.chains,
            min([run.look_again(), *(_seconds(at - now) for at in kept.again)]),
            tuple(run.wrote),
            tuple(kept.wrote),
            (*kept.errors, *run.errors),
        )


def _seconds(after: timedelta) -> float:
    return max(after.total_seconds(), 0.1)


class _Pass:
    """One pass over one namespace."""

    def __init__(
        self,
        env: Environment,
        pending: Pending,
        namespace: str,
        wants: Mapping[str, Wants],
        seen: NamespaceSnapshot,
    ) -> None:
        self.errors: list[Exception] = []
        self._env, self._pending, self._namespace = env, pending, namespace
        self._progress = Progress(env)
        self._wants, self._seen = wants, seen
        self._records = Records.read(seen.resources)
        self._after: list[timedelta] = []
        self._done: dict[str, CNPGView] = {}
        """The decisions for each Deployment of CloudNativePG, by its name."""

    @property
    def wrote(self) -> list[str]:
        """What this pass wrote, for the log."""
        return self._progress.wrote

    async def run(self) -> dict[str, CNPGView]:
        """Process the CloudNativePG operators of the namespace, each once."""
        views = {
            reference: await self._advance(reference, found)
            for reference, found in self._seen.cnpg.items()
        }
        try:
            await self._drop_records()
        except errors.ClusterError as error:
            self.errors.append(error)
        return views

    async def _drop_records(self) -> None:
        """Drop the record of each plugin that is no longer a sidecar."""
        found = [cnpg for each in self._seen.cnpg.values() for cnpg in each.cnpg]
        hosted = {name for cnpg in found for name in cnpg.sidecars}
        for body in self._seen.resources if found else ():
            name = body["metadata"]["name"]
            if not names_sidecar(body.get("spec")) and name not in hosted:
                await self._progress.make(*self._records.record_sidecar(name, None))

    def look_again(self) -> float:
        """Return within how many seconds the next pass is due, if nothing wakes it."""
        asked = [w.look_within for w in self._wants.values() if w.look_within is not None]
        times = [*asked, *map(_seconds, self._after)]
        return min(times, default=RESYNC)

    async def _advance(self, reference: str, found: CNPGSnapshot) -> CNPGView:
        """Do what one CloudNativePG needs next, unless another reference has done so."""
        if len(found.cnpg) != 1:
            return CNPGView(found)
        cnpg = found.cnpg[0]
        if cnpg.deployment in self._done:
            return replace(self._done[cnpg.deployment], seen=found)
        failed: dict[Type, Exception] = {}
        rolled, restarted = None, Restarting()
        try:
            rolled = await self._roll(cnpg, found)
        except Exception as error:  # noqa: BLE001 - the plugins in question report it
            self._fail(failed, Type.AVAILABLE, error)
        try:
            if not self.wrote:
                restarted = await self._restart(reference, cnpg, rolled)
        except Exception as error:  # noqa: BLE001 - likewise
            self._fail(failed, Type.REGISTERED, error)
        self._after += [each.after for each in (rolled, restarted) if each and each.after]
        view = CNPGView(
            seen=found,
            restart=restarted.decision,
            refused=restarted.refused,
            sidecars=rolled.sidecars if rolled is not None else None,
            rollout=rolled.decision if rolled is not None else None,
            judged=self._judged(),
            failed=failed,
        )
        self._done[cnpg.deployment] = view
        return view

    def _fail(self, failed: dict[Type, Exception], condition: Type, error: Exception) -> None:
        log_failure(Failure(condition, error), {"namespace": self._namespace})
        failed[condition] = error
        self.errors.append(error)

    def _judged(self) -> dict[str, tuple[str, int]]:
        """Name the resources whose sidecars were evaluated as their passes accepted them."""
        bodies = (body for body in self._seen.resources if is_accepted(body, self._wants))
        accepted = {body["metadata"]["name"] for body in bodies}
        return {n: (w.uid, w.generation) for n, w in self._wants.items() if n in accepted}

    async def _roll(self, cnpg: CNPGFacts, found: CNPGSnapshot) -> Rolled | None:
        """Update the sidecars of one CloudNativePG."""
        if found.unread is not None:
            raise found.unread
        if cnpg.environment is None:
            return None
        clusters = known(self._seen.clusters)
        candidates = find_candidates(
            self._seen.resources,
            clusters,
            self._wants,
            cnpg,
            cnpg.environment,
            self._env.settings,
        )
        await self._follow_moves(candidates, cnpg)
        if self.wrote:
            return None
        return await SidecarRollout(
            progress=self._progress,
            namespace=self._namespace,
            cnpg=cnpg,
            candidates=candidates,
            clusters=clusters,
            services=self._seen.services,
            records=self._records,
            pending=self._pending,
            now=self._env.clock(),
        ).advance()

    async def _follow_moves(self, candidates: Candidates, cnpg: CNPGFacts) -> None:
        """Show or hide the Services of plugins that become sidecars."""
        for plugin in (each.plugin for each in candidates.each if each.plugin is not None):
            if plugin.is_sidecar and not plugin.spec.suspend and not plugin.deleting:
                services = self._seen.services
                await follow_move(self._progress, plugin, services, cnpg)

    async def _restart(self, reference: str, cnpg: CNPGFacts, rolled: Rolled | None) -> Restarting:
        """Restart CloudNativePG if plugins need it and nothing has to be waited for."""
        needs = {
            name: wants.restart
            for name, wants in self._wants.items()
            if wants.restart is not None and wants.reference in ("", reference, cnpg.deployment)
        }
        if not needs:
            return Restarting()
        given, decision = plan_restart(
            cnpg,
            needs,
            self._seen.resources,
            self._seen.services,
            known(self._seen.clusters),
            pace=self._env.settings.pace,
            sidecars_change=rolled is not None and rolled.decision.action is Roll.WAIT,
            now=self._env.clock(),
        )
        return await restart_cnpg(
            self._progress,
            given,
            decision,
            self._records,
            self._seen.services,
            self._find_coming(cnpg),
        )

    def _find_coming(self, cnpg: CNPGFacts) -> frozenset[str]:
        """Name the resources whose desired sidecars CloudNativePG's next pods contain."""
        wanted = {
            body["metadata"]["name"]
            for body in self._seen.resources
            if names_sidecar(body.get("spec")) and not body["spec"].get("suspend")
        }
        return frozenset(wanted.intersection(cnpg.sidecars))
