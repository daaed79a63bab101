"""The stages of a pass, one per condition, in their order.

Validate, certificates, workload, Service and handshake, announcement and registration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Type, Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.status import Report
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.decide.acceptance.acceptance import AcceptanceInput, decide_acceptance
from cnpg_plugin_operator.decide.acceptance.private_secrets import PrivateSecrets
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.decide.registration.announcement import keep_announcing
from cnpg_plugin_operator.decide.registration.restart import RestartNeed
from cnpg_plugin_operator.decide.registration.restart_need import RegistrationInput
from cnpg_plugin_operator.decide.workload.take_over import gave_way
from cnpg_plugin_operator.decide.workload.workload import WorkloadInput, may_wait_for_lease
from cnpg_plugin_operator.desired.access import build_access
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.protection import build_protection
from cnpg_plugin_operator.desired.service import (
    build_candidate,
    build_endpoint,
    build_service,
)
from cnpg_plugin_operator.desired.workload import build_deployment, without_replicas
from cnpg_plugin_operator.errors import ConflictError
from cnpg_plugin_operator.reconcile.certificates.certificates import (
    PROVIDERS,
    Certified,
    Certifying,
)
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.environment import LOOK_AT_CNPG, Environment
from cnpg_plugin_operator.reconcile.handshake.handshake import (
    Proven,
    plan_handshake,
    shake_hands,
)
from cnpg_plugin_operator.reconcile.handshake.schedule import Proofs
from cnpg_plugin_operator.reconcile.pruning import Pruning, plan_remnants
from cnpg_plugin_operator.reconcile.registration.registration import (
    announcing,
    await_pods,
    dial_hash,
    find_kept,
    is_taking_over,
    plan_registration,
    plan_rivals,
    record_ended,
)
from cnpg_plugin_operator.reconcile.shared import Chains, CNPGView, Wants
from cnpg_plugin_operator.reconcile.stages import Failure, Plan, Stages, next_look, walk
from cnpg_plugin_operator.reconcile.status import (
    build_certificates,
    build_report,
    log_reference,
    report_take_over,
)
from cnpg_plugin_operator.reconcile.take_over import (
    plan_adoption,
    plan_leftovers,
    plan_retirement,
    plan_scaling,
)
from cnpg_plugin_operator.reconcile.workload import plan_availability, plan_workload, read_upgrade
from cnpg_plugin_operator.reconcile.writes import Apply, HideService

UNWATCHED: Final = 60.0
"""Seconds until the next look at what no watch reports."""


@dataclass(slots=True)
class Pass:
    """One pass over one resource."""

    env: Environment
    proofs: Proofs
    pruning: Pruning
    plugin: Plugin
    view: CNPGView
    chains: Chains
    status: Mapping[str, Any]
    """The present status, which contains what was registered before."""
    now: datetime = field(init=False)
    """Later than everything that was read: a certificate may be very new."""
    verdicts: dict[Type, Verdict] = field(default_factory=dict)
    context: Context = field(init=False)
    _certifying: Certifying = field(init=False)
    _proven: Proven = field(init=False)
    _desired: list[Object] = field(init=False)
    _deployment: Object = field(init=False)
    _overdue: bool = field(init=False, default=False)
    """Whether CloudNativePG takes longer than it should, so it is checked rarely."""
    _registered: str = field(init=False, default="")
    _need: RestartNeed | None = field(init=False, default=None)
    failure: Failure | None = field(init=False, default=None)
    """What ended the pass early."""

    async def run(self) -> Report:
        """Run the stages until one is not True; none for a suspended plugin."""
        plugin = self.plugin
        self._registered = str(mapping(self.status.get("cnpg")).get("registeredRevision", ""))
        bindable = self.env.settings.grants.cluster_roles
        owners = await self.env.reader.grants(bindable.intersection(plugin.spec.cluster_roles))
        access = build_access(plugin, bindable, owners)
        domain = self.env.settings.cluster_domain
        certificates = PROVIDERS[plugin.provider].objects(plugin, domain)
        service, deployment = build_service(plugin, None), build_deployment(plugin)
        protection = self._protection()
        self._desired = [*certificates, *access, *protection, deployment, service]
        candidate = [build_candidate(plugin)] if plugin.adopts else []
        snapshot = await self.env.reader.snapshot(
            plugin, self.view.cnpg, [*self._desired, *candidate], self.status
        )
        self.now = self.env.clock()
        self.context = Context(
            self.env, plugin=plugin, seen=snapshot, chains=self.chains, now=self.now
        )
        key = (plugin.namespace, plugin.name, plugin.client_secret)
        self._certifying = Certifying(self.context, self.status, self.proofs.followed(key))
        stages: Stages = {
            Type.ACCEPTED: (self._accept,),
            Type.CERTIFICATES_READY: self._certifying.steps,
            Type.AVAILABLE: (partial(self._deploy, [*access, *protection]), self._watch_pods),
            Type.HANDSHAKE_SUCCEEDED: (self._shake,),
            Type.REGISTERED: (self._announce, self._retire, self._register, self._prune),
        }
        due = {} if plugin.spec.suspend else stages
        self.failure = await walk(due, self.context, self.verdicts, log_reference(plugin))
        report = build_report(
            self.verdicts,
            self.view.cnpg,
            snapshot.clusters,
            self._identity,
            self._registered,
        )
        certified = getattr(self._certifying, "certified", None)
        report = replace(report, certificates=build_certificates(self.verdicts, certified))
        return report_take_over(report, snapshot.previous)

    @property
    def wants(self) -> Wants:
        """What the plugin needs from the shared parts of its namespace."""
        plugin, last = self.plugin, next(reversed(self.verdicts.values()), None)
        pause = LOOK_AT_CNPG.get(last.reason) if last is not None and not last.is_true else None
        accepted = self.verdicts.get(Type.ACCEPTED)
        return Wants(
            plugin.uid,
            plugin.generation,
            plugin.cnpg_reference,
            restart=self._need,
            chain=self.context.wanted_chain if accepted and accepted.is_true else None,
            root_only=plugin.has_own_authority,
            look_within=pause,
        )

    @property
    def waits(self) -> bool:
        """Whether the plugin needs what the namespace's next pass brings."""
        return self.context.awaits_chain

    @property
    def deferred(self) -> bool:
        """Whether the namespace's pass has to bring that first; nothing is reported then."""
        certified = self.verdicts.get(Type.CERTIFICATES_READY)
        issuing = certified is not None and certified.reason is Reason.ISSUING
        return self.waits and issuing and self.plugin.provider not in self.chains.kept

    @property
    def unrecorded(self) -> bool:
        """Whether the status does not say yet what has to be known later."""
        previous = self.context.seen.previous
        return previous is not None and not previous.recorded

    @property
    def wrote(self) -> list[str]:
        """What this pass wrote, for the log."""
        return self.context.wrote

    def retry_after(self) -> float:
        """Seconds until the next pass, if nothing wakes it earlier."""
        after = next_look(self.verdicts, self.context.looks, self.now, overdue=self._overdue)
        return min(after, UNWATCHED) if self._uses_unwatched else after

    @property
    def _uses_unwatched(self) -> bool:
        """Whether it depends on cluster-wide bindings, an issuer, or others' use of its Secrets."""
        spec, names_secrets = self.plugin.spec, self.context.seen.private != PrivateSecrets()
        return bool(spec.cluster_roles or spec.tls.issuer_ref or names_secrets)

    @property
    def clusters(self) -> tuple[ClusterFacts, ...]:
        """The Clusters that use the plugin."""
        return self.context.seen.clusters

    @property
    def _identity(self) -> Identity | None:
        proven: Proven | None = getattr(self, "_proven", None)
        return proven.identity if proven is not None else None

    async def _accept(self) -> Plan:
        seen = self.context.seen
        verdict = decide_acceptance(
            AcceptanceInput(
                plugin=self.plugin,
                managed_namespaces=self.env.settings.namespaces,
                cnpg=self.view.cnpg,
                cnpg_elsewhere=self.view.seen.elsewhere,
                foreign=seen.foreign,
                rivals=seen.rivals,
                services=seen.services,
                reference_exists=self.view.seen.reference_exists,
                grants=self.env.settings.grants,
                private=seen.private,
                issuer=seen.issuer,
                announced_name=self.context.announced_name,
                previous=seen.previous,
                cluster_domain=self.env.settings.cluster_domain,
                operator_pods=self.env.settings.operator_pods,
            )
        )
        remnants = await plan_remnants(self.env, self.plugin, seen.foreign, self.now)
        return replace(
            remnants, verdict=verdict, writes=(*remnants.writes, *plan_rivals(self.context))
        )

    @property
    def _certified(self) -> Certified:
        """The certificates, once their stage has come to a verdict."""
        return self._certifying.certified

    def _protection(self) -> list[Object]:
        """What protects the pods, once it is known which CloudNativePG uses the plugin."""
        if len(self.view.cnpg) != 1:
            return []
        selector = self.view.cnpg[0].selector
        return build_protection(self.plugin, selector, self.env.settings.operator_pods)

    async def _deploy(self, others: list[Object]) -> Plan:
        plugin, context = self.plugin, self.context
        running = without_replicas(plugin) if gave_way(plugin, context.seen.previous) else plugin
        self._deployment = build_deployment(running, self._restarted_for())
        published = context.announcement is not None and not context.adopting
        given = read_upgrade(
            plugin, self.status, context.seen, self._deployment, published=published
        )
        return plan_workload(given, [*others, context.build_service(self._announcing())])

    async def _watch_pods(self) -> Plan:
        plugin, context = self.plugin, self.context
        live = context.live["Deployment", plugin.name]
        facts = observe.read_workload(live, list(context.seen.pods))
        given = WorkloadInput(plugin.namespace, plugin.name, plugin.spec.port, facts, self.now)
        if may_wait_for_lease(given):
            given = replace(given, leases=await self.env.reader.leases(plugin.namespace))
        if given.unstarted is not None:
            said = await self.env.reader.mount_failure(plugin.namespace, given.unstarted)
            given = replace(given, unmounted=said)
        return plan_scaling(context, plan_availability(given))

    async def _shake(self) -> Plan:
        context, certified, restarted_for = self.context, self._certified, self._restarted_for()
        found = await shake_hands(context, self.proofs, certified, restarted_for)
        pods = observe.read_pods(context.seen.pods)
        self._proven = plan_handshake(
            self.plugin, certified, found, pods, self._deployment, restarted_for, self.now
        )
        return plan_scaling(context, self._proven.plan)

    async def _announce(self) -> Plan:
        plugin, context = self.plugin, self.context
        template, takes_new = self._proven.deployment["spec"]["template"], self._proven.takes_new
        if not (takes_new or context.adopting):
            return Plan(await_pods(context))
        kept = await find_kept(context, self.view.cnpg[0])
        annotations = announcing(
            plugin,
            self.view.cnpg[0],
            context.seen,
            None if context.adopting else context.announcement,
            dialled=dial_hash(plugin, self.view.cnpg[0], self._certified),
            template=template,
            identity=self._proven.identity,
            now=self.now,
            moved=bool(kept) or is_taking_over(context.seen),
        )
        if context.adopting:
            return plan_adoption(context, template, annotations if takes_new else None)
        return Plan(writes=(*map(HideService, kept), Apply(context.build_service(annotations))))

    async def _retire(self) -> Plan:
        return plan_retirement(self.context)

    async def _register(self) -> Plan:
        plugin, env, seen = self.plugin, self.env, self.context.seen
        announcement = self.context.announcement
        if announcement is None:
            raise ConflictError(
                f"Service {plugin.service_name} lost its label while it was applied"
            )
        given = RegistrationInput(
            name=plugin.name,
            service=plugin.service_name,
            policy=plugin.spec.cnpg.restart_policy or env.settings.restart_policy,
            announcement=announcement,
            cnpg=self.view.cnpg[0],
            event=seen.event,
            clusters=seen.clusters,
            registered_revision=self._registered,
            now=self.now,
            identity=self._proven.identity,
        )
        step = plan_registration(
            given, self.view, plugin, refreshing=env.settings.grants.cluster_refresh
        )
        self._need, self._overdue = step.need, step.overdue
        first = self._registered != announcement.revision
        if step.plan.verdict is not None and step.plan.verdict.is_true:
            self._registered = announcement.revision
        return plan_leftovers(self.context, step.plan, first=first)

    async def _prune(self) -> Plan:
        plan = await self.pruning.plan(self.env, self.plugin, self._desired, self.plugin.secrets)
        return record_ended(self.context, self.view.cnpg[0].version, plan)

    def _announcing(self) -> Mapping[str, str] | None:
        """What the published Service announces, to be kept: CloudNativePG drops a withdrawn one."""
        announcement = self.context.announcement
        if announcement is None or self.context.adopting:
            return None
        dialled = dial_hash(self.plugin, self.view.cnpg[0], self._certified)
        return keep_announcing(announcement, build_endpoint(self.plugin), dialled)

    def _restarted_for(self) -> str:
        """The certificates that the pods were, or will be, restarted for."""
        if self.plugin.spec.tls.reload == "Restart":
            return self._certified.material
        live = self.context.live.get(("Deployment", self.plugin.name)) or {}
        template = ((live.get("spec") or {}).get("template") or {}).get("metadata") or {}
        return str((template.get("annotations") or {}).get(names.annotations.RELOADED) or "")
