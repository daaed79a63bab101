"""The passes of a namespace and of its plugins, run dry: what they see, decide and would write.

They are the operator's own passes; only the applier and the handshakes are others (`dry_run`).
Nothing here may write, and nothing of a Secret but its name and its certificate's end is shown.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import SUMMED_UP, Type, Verdict, read_verdict
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.api.times import display_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.facts.version_skew import read_skew
from cnpg_plugin_operator.decide.sidecar.rollout import Roll
from cnpg_plugin_operator.decide.sidecar.sidecar_set import SidecarSet
from cnpg_plugin_operator.decide.workload.upgrade import describe_users
from cnpg_plugin_operator.errors import UnforeseeableError
from cnpg_plugin_operator.pki.reading import read_pair
from cnpg_plugin_operator.reconcile.dry_run import CautiousHandshaker, Described, Recorder
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.namespace import Judged, NamespaceReconciler
from cnpg_plugin_operator.reconcile.plugin import Outcome, PluginReconciler
from cnpg_plugin_operator.reconcile.shared import CNPGView, Shared
from cnpg_plugin_operator.reconcile.standalone import Pass

MOST_ROUNDS: Final = 4
"""Rounds of passes at most: plugins and their namespace declare to each other what they decided."""

NOT_MANAGED: Final = "not looked for: the operator does not manage this namespace"

Observation = tuple[str, str]
"""What was looked at, and what was seen."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, as it would be decided now and as the status has it."""

    type: Type
    verdict: Verdict | None
    """None where the pass does not come to it."""
    reported: Verdict | None
    assumed: bool = False
    """Whether the verdict relies on the status."""

    @property
    def differs(self) -> bool:
        """Whether the status says something else."""
        return self.verdict is not None and not self.assumed and self.verdict != self.reported


@dataclass(frozen=True, slots=True)
class PluginDiagnosis:
    """What the operator makes of one resource."""

    namespace: str
    name: str
    observations: tuple[Observation, ...] = ()
    conditions: tuple[Condition, ...] = ()
    writes: tuple[Described, ...] = ()
    then: str = ""
    """What has to come first before more can be said, or empty."""
    error: str = ""
    """What could not be read, or empty."""
    next_look: float | None = None
    """Seconds until the next pass, should nothing wake it."""
    suspended: bool = False

    @property
    def is_as_wanted(self) -> bool:
        """Whether all conditions are True and nothing is to be written.

        A suspended plugin is as its user wants it, as for `kubectl cnpg-plugin status`.
        """
        if self.suspended:
            return not self.error
        done = [each.verdict is not None and each.verdict.is_true for each in self.conditions]
        return bool(done) and all(done) and not (self.writes or self.then or self.error)

    @property
    def runbook(self) -> str:
        """The address that explains the first condition that is not True; empty if all are."""
        verdicts = (each.verdict for each in self.conditions)
        reasons = (each.reason for each in verdicts if each is not None and not each.is_true)
        return next((f"{names.resource.RUNBOOKS}#{reason.lower()}" for reason in reasons), "")


@dataclass(frozen=True, slots=True)
class NamespaceDiagnosis:
    """What the operator makes of what the plugins of a namespace share."""

    namespace: str
    cnpg: tuple[Observation, ...] = ()
    """Each CloudNativePG, and what is decided about it."""
    writes: tuple[Described, ...] = ()
    error: str = ""
    plugins: tuple[PluginDiagnosis, ...] = ()

    @property
    def is_as_wanted(self) -> bool:
        """Whether nothing is to be written, neither here nor for a plugin."""
        clean = not self.writes and not self.error
        return clean and all(plugin.is_as_wanted for plugin in self.plugins)

    @property
    def is_read(self) -> bool:
        """Whether everything could be read."""
        return not self.error and not any(plugin.error for plugin in self.plugins)


class Diagnosing:
    """Runs the passes of namespaces without writing."""

    def __init__(
        self, env: Environment, recorder: Recorder, handshaker: CautiousHandshaker
    ) -> None:
        self._env, self._recorder, self._handshaker = env, recorder, handshaker
        self._shared = Shared()
        self._plugins = PluginReconciler(env, self._shared)
        self._namespaces = NamespaceReconciler(env, self._shared)
        self._writes: dict[tuple[str, str, Described], None] = {}
        """Of each plugin, by namespace and name, in their order."""

    async def diagnose(self, namespace: str, names: Collection[str]) -> NamespaceDiagnosis:
        """Diagnose a namespace and these of its plugins, or all where none is named.

        Raises `ClusterError` where the resources themselves cannot be read.
        """
        resources = [b["metadata"]["name"] for b in self._env.reader.siblings(namespace)]
        wanted, found = None, NamespaceDiagnosis(namespace)
        for _ in range(MOST_ROUNDS):
            found = await self._judge_namespace(namespace)
            plugins = [await self._judge_plugin(namespace, name) for name in sorted(resources)]
            wants = self._shared.wants(namespace)
            if wants == wanted:
                break
            wanted = wants
        chosen = (each for each in plugins if not names or each.name in names)
        return NamespaceDiagnosis(namespace, found.cnpg, found.writes, found.error, tuple(chosen))

    async def _judge_namespace(self, namespace: str) -> NamespaceDiagnosis:
        self._recorder.take()
        if not self._env.reader.manages(namespace):
            return NamespaceDiagnosis(namespace, ((NOT_MANAGED, ""),))
        try:
            judged = await self._namespaces.judge(namespace)
        except errors.ClusterError as error:
            self._shared.fail(namespace, error)
            return NamespaceDiagnosis(namespace, error=f"{error}")
        self._shared.publish(namespace, judged.views, judged.chains)
        needing = [name for name, wants in self._shared.wants(namespace).items() if wants.restart]
        problem = next((f"{error}" for error in judged.errors), "")
        observations = tuple(_describe_views(judged, needing))
        return NamespaceDiagnosis(namespace, observations, self._recorder.take(), problem)

    async def _judge_plugin(self, namespace: str, name: str) -> PluginDiagnosis:
        body = await self._env.reader.resource(namespace, name) or {}
        self._handshaker.status, self._handshaker.assumed = read_status(body), ""
        self._recorder.take()
        outcome = await self._plugins.judge(namespace, name)
        assumed = bool(self._handshaker.assumed)
        # What a round before took for done may not be planned again.
        self._writes |= dict.fromkeys((namespace, name, write) for write in self._recorder.take())
        writes = tuple(w for where, who, w in self._writes if (where, who) == (namespace, name))
        then, problem = _explain(outcome)
        return PluginDiagnosis(
            namespace,
            name,
            tuple(_describe_run(outcome)),
            _compare(outcome, read_status(body), assumed=assumed),
            writes,
            then,
            problem,
            outcome.requeue.after,
            _is_suspended(outcome),
        )


def _is_suspended(outcome: Outcome) -> bool:
    return outcome.run is not None and outcome.run.plugin.spec.suspend


def _explain(outcome: Outcome) -> tuple[str, str]:
    """Say what ended a pass: what has to come first, or what could not be read."""
    failure = outcome.failure
    if failure is None:
        changes_nothing = "unset spec.suspend: the operator changes nothing"
        return (changes_nothing if _is_suspended(outcome) else ""), ""
    if isinstance(failure.error, UnforeseeableError):
        return f"{failure.error}", ""
    if isinstance(failure.error, errors.OperatorError):
        return "", f"{failure.condition}: {failure.error}"
    return "", f"{failure.condition}: the program failed ({type(failure.error).__name__})"


def _compare(
    outcome: Outcome, status: Mapping[str, Any], *, assumed: bool
) -> tuple[Condition, ...]:
    """Put what was decided beside what the status says."""
    verdicts: Mapping[Type, Verdict] = {}
    if outcome.run is not None:
        verdicts = outcome.run.verdicts
    elif outcome.report is not None and outcome.failure is None:
        verdicts = outcome.report.verdicts
    return tuple(
        Condition(
            kind,
            verdicts.get(kind),
            read_verdict(status, kind),
            assumed=assumed and kind is Type.HANDSHAKE_SUCCEEDED,
        )
        for kind in SUMMED_UP
    )


def _describe_views(judged: Judged, needing: list[str]) -> list[Observation]:
    found: dict[str, Observation] = {}
    for view in judged.views.values():
        for cnpg in view.cnpg:
            decided = _describe_decision(view, needing)
            found[cnpg.deployment] = (_describe_cnpg(cnpg), decided)
    return list(found.values()) or [("CloudNativePG does not run here", "")]


def _describe_cnpg(cnpg: CNPGFacts) -> str:
    leader = "no leader"
    if cnpg.leader is not None:
        since = f" since {display_time(cnpg.leader.since)}" if cnpg.leader.since else ""
        leader = f"leader {cnpg.leader.pod}{since}"
    state = "available" if cnpg.available else "not available"
    rolling = ", rolling" if cnpg.rolling else ""
    version = f"version {cnpg.version or 'unknown'}"
    return f"Deployment {cnpg.namespace}/{cnpg.deployment}, {version}, {state}{rolling}, {leader}"


def _describe_decision(view: CNPGView, needing: list[str]) -> str:
    """Say whether CloudNativePG would be restarted, for whom and why."""
    found = []
    if view.restart is not None:
        who = f" for {', '.join(sorted(needing))}" if needing else ""
        found.append(f"restart: {view.restart.action}{who} ({view.restart.reason})")
    sidecars = _name_sidecars(view.sidecars) if view.sidecars is not None else []
    if view.rollout is not None and sidecars:
        action = "no change" if view.rollout.action is Roll.NOTHING else view.rollout.action
        why = f" ({view.rollout.reason})" if view.rollout.reason else ""
        found.append(f"sidecars {', '.join(sidecars)}: {action}{why}")
    return "; ".join(found) or "no restart is needed"


def _name_sidecars(found: SidecarSet) -> list[str]:
    """Name the plugins that are sidecars, should be, or leave; others are members, too."""
    there = {name for name, member in found.members.items() if member.wanted or member.applied}
    return sorted(there | found.changed)


def _describe_run(outcome: Outcome) -> list[Observation]:
    run = outcome.run
    if run is None:
        return []
    observations = [("CloudNativePG", _describe_cnpg(cnpg)) for cnpg in run.view.cnpg]
    if isinstance(run, Pass):
        observations += _describe_standalone(run)
    else:
        revisions = [cnpg.sidecars.get(run.plugin.name) for cnpg in run.view.cnpg]
        found = [f"revision {each}" if each else "not in the Deployment" for each in revisions]
        observations += [("Sidecar", each) for each in found]
    return [*observations, *_describe_versions(outcome), ("Clusters", describe_users(run.clusters))]


def _describe_versions(outcome: Outcome) -> list[Observation]:
    """Put the version that the plugin reports beside CloudNativePG's, and what is known of both."""
    run, report = outcome.run, outcome.report
    if run is None or len(run.view.cnpg) != 1:
        return []
    known = report.plugin if report is not None else None
    plugin = known or mapping(run.status.get("plugin"))
    cnpg = {"version": run.view.cnpg[0].version}
    said = f"{plugin.get('name', run.plugin.spec.plugin_name)} {plugin.get('version', 'unknown')}"
    skew = read_skew({"plugin": plugin, "cnpg": cnpg})
    beside = f"{said} with CloudNativePG {cnpg['version'] or 'unknown'}"
    return [("Versions", f"{beside}. {skew}" if skew else beside)]


def _describe_standalone(run: Pass) -> list[Observation]:
    seen, plugin = run.context.seen, run.plugin
    service = seen.live.get(("Service", plugin.service_name))
    found = "missing"
    if service is not None:
        announced = observe.read_service(service, run.now).announcement
        found = "not announced"
        if announced is not None:
            found = f"announced at {display_time(announced.announced_at)}"
    observations = [("Service", f"{plugin.service_name}: {found}")]
    facts = observe.read_workload(seen.live.get(("Deployment", plugin.name)), list(seen.pods))
    ready = f"{facts.available} of {facts.wanted} pods available" if facts.exists else "missing"
    observations.append(("Deployment", f"{plugin.name}: {ready}"))
    for pod in facts.pods:
        state = "deleted" if pod.deleting else "ready" if pod.ready else "not ready"
        observations.append(("Pod", f"{pod.name}: {state}"))
    for name in (plugin.server_secret, plugin.client_secret):
        secret = seen.secrets.get(name)
        leaf = read_pair(name, secret.data if secret is not None else None).leaf
        ends = f"certificate until {display_time(leaf.not_after)}" if leaf else "no certificate"
        observations.append(("Secret", f"{name}: {ends}"))
    return observations
