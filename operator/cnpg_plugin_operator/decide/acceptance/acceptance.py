"""Whether a resource is valid here: the checks that the CRD's schema cannot make.

They also keep the author of a `CNPGPlugin` within the names that the operator's chart grants: the
right to create the resource must not give the rights of another account, access to the node, or
CloudNativePG's keys.
"""

from dataclasses import dataclass, field
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import ClusterRefresh
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.acceptance.cnpg_installation import LocatingInput, decide_locating
from cnpg_plugin_operator.decide.acceptance.issuer_grants import IssuerInput, judge_issuer
from cnpg_plugin_operator.decide.acceptance.labels import find_label_problems
from cnpg_plugin_operator.decide.acceptance.pods import find_pod_problems
from cnpg_plugin_operator.decide.acceptance.private_secrets import PrivateSecrets, judge_secrets
from cnpg_plugin_operator.decide.acceptance.sidecars import judge_sidecar_spec
from cnpg_plugin_operator.decide.acceptance.take_over import TakeOverInput, judge_take_over
from cnpg_plugin_operator.decide.facts.cert_manager import IssuerFacts
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.facts.plugin import ForeignObject, SelectingService
from cnpg_plugin_operator.decide.facts.take_over import Previous
from cnpg_plugin_operator.desired.access import account_name, creates_account
from cnpg_plugin_operator.desired.protection import Pods
from cnpg_plugin_operator.desired.sidecars import Gate
from cnpg_plugin_operator.desired.workload import build_pod_template


@dataclass(frozen=True, slots=True)
class Grants:
    """What the chart allows plugins to use, by name."""

    cluster_roles: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    """Existing accounts that a plugin may run under."""
    issuers: frozenset[str] = frozenset()
    """Issuers that may issue for names beyond a Service's own; see `issuer_grants`."""
    cluster_refresh: bool = False
    """Whether the operator may annotate Clusters for a plugin."""
    sidecars: bool = True
    """Whether plugins may run in CloudNativePG's own pod."""
    take_overs: bool = True
    """Whether plugins may take over Services of other owners."""


@dataclass(frozen=True, slots=True)
class AcceptanceInput:
    """The input of the checks."""

    plugin: Plugin
    managed_namespaces: tuple[str, ...]
    """Where this operator has rights, and so expects CloudNativePG."""
    cnpg: tuple[CNPGFacts, ...]
    """The CloudNativePG operators of the resource's namespace."""
    cnpg_elsewhere: tuple[str, ...]
    """Managed namespaces in which CloudNativePG runs."""
    foreign: tuple[ForeignObject, ...]
    """Objects of other owners with names that this resource needs."""
    rivals: tuple[str, ...]
    """Older resources of the namespace with the same plugin name."""
    services: tuple[SelectingService, ...] = ()
    """The Services of the namespace, except this plugin's own."""
    reference_exists: bool = False
    """Whether the Deployment that `spec.cnpg` names exists, CloudNativePG's or not."""
    grants: Grants = field(default_factory=Grants)
    gate: Gate = field(default_factory=Gate)
    private: PrivateSecrets = field(default_factory=PrivateSecrets)
    """What is known of the Secrets that the resource names."""
    issuer: IssuerFacts | None = None
    """The issuer that the resource names; None where it cannot be read."""
    announced_name: str | None = None
    """The name that CloudNativePG verifies the plugin for; None before the first announcement."""
    previous: Previous | None = None
    """The installation that the resource takes over; None where it takes over none."""
    cluster_domain: str = "cluster.local"
    operator_pods: Pods | None = None
    """The operator's own pods, as a NetworkPolicy would select them."""


def decide_acceptance(given: AcceptanceInput) -> Verdict:
    """Judge whether anything may be done for this resource."""
    return first(CHECKS, given) or _accepted(given)


def _confusing_name(given: AcceptanceInput) -> Verdict | None:
    """Children have the name as a label by which CloudNativePG's webhook Service selects pods."""
    if given.plugin.name == names.cnpg.APP:
        return no(
            Reason.INVALID_SPEC,
            f"metadata.name: {names.cnpg.APP} is reserved for CloudNativePG; choose another name.",
        )
    return None


def _cnpg_out_of_place(given: AcceptanceInput) -> Verdict | None:
    """This namespace does not have exactly one CloudNativePG that can see the plugin."""
    return decide_locating(
        LocatingInput(
            plugin=given.plugin,
            managed_namespaces=given.managed_namespaces,
            found=given.cnpg,
            elsewhere=given.cnpg_elsewhere,
            reference_exists=given.reference_exists,
        )
    )


def _rival(given: AcceptanceInput) -> Verdict | None:
    """An older resource has the plugin's name; CloudNativePG would alternate between the two."""
    if given.rivals:
        return no(
            Reason.NAME_CONFLICT,
            f"CNPGPlugin {given.rivals[0]} already provides {given.plugin.spec.plugin_name} in "
            f"namespace {given.plugin.namespace}: delete one of the two.",
        )
    return None


def _foreign_object(given: AcceptanceInput) -> Verdict | None:
    """Another owner has an object that this resource needs; the operator never adopts objects."""
    taken = ("Service", given.plugin.previous_service)
    found = [e for e in given.foreign if (e.kind, e.name) != taken and not e.remnant]
    if not found:
        return None
    other, namespace = found[0], given.plugin.namespace
    if other.published:
        return no(Reason.NAME_CONFLICT, _describe_handover(given.plugin, other))
    action = (
        "choose another spec.service.name or delete it"
        if other.kind == "Service"
        else "rename this resource or delete it"
    )
    return no(
        Reason.NAME_CONFLICT,
        f"{other.kind} {namespace}/{other.name} belongs to {other.owner}: {action}.",
    )


def _remnant(given: AcceptanceInput) -> Verdict | None:
    """An earlier resource of the same name has left an object; the pass deletes it."""
    plugin = given.plugin
    for each in given.foreign:
        if each.remnant:
            return unknown(
                Reason.NAME_CONFLICT,
                f"{each.kind} {plugin.namespace}/{each.name} is left of a deleted CNPGPlugin "
                f"{plugin.name}: the operator deletes it, then continues.",
            )
    return None


def _impossible_take_over(given: AcceptanceInput) -> Verdict | None:
    """The Service that the resource names cannot be taken over as it is."""
    if given.previous is None:
        return None
    granted = given.grants.take_overs
    return judge_take_over(TakeOverInput(given.plugin, given.previous, given.cnpg[0], granted))


def _describe_handover(plugin: Plugin, other: ForeignObject) -> str:
    """Explain how to replace a published Service without an outage of its plugin.

    Whether its label can be removed by hand, and its finalizer, differs from version to version
    (`cnpg_versions`), so the message recommends what is right for all.
    """
    label = f"{names.cnpg.PLUGIN_NAME}={plugin.spec.plugin_name}"
    begin = (
        f"Label {label} of Service {plugin.namespace}/{other.name} conflicts with this resource, "
        f"because CloudNativePG uses one Service per plugin. That Service belongs to {other.owner}"
    )
    if other.owner.startswith(names.resource.KIND):
        return f"{begin}: this resource continues when it is deleted."
    first_mode = "set spec.mode to Standalone for now, and " if plugin.is_sidecar else ""
    return (
        f"{begin}. To take its plugin over without an outage, {first_mode}set "
        f"spec.takeOver.serviceName to {other.name}; the command `migrate --from-service "
        f"{other.name}` prints a complete resource. Do not delete that Service or its label "
        "before: CloudNativePG would forget the plugin."
    )


def _ungranted(given: AcceptanceInput) -> Verdict | None:
    """The resource requests rights that the operator's chart does not grant."""
    spec, grants = given.plugin.spec, given.grants
    account = account_name(given.plugin)
    runs_as_other = account is not None and not creates_account(given.plugin)
    asked = (
        ("clusterRoles", spec.cluster_roles, grants.cluster_roles, "allowedClusterRoles"),
        ("roles", spec.roles, grants.roles, "allowedRoles"),
        (
            "serviceAccount.name",
            (account,) if runs_as_other and account else (),
            grants.service_accounts,
            "allowedServiceAccounts",
        ),
    )
    for path, wanted, granted, value in asked:
        for name in wanted:
            if name not in granted:
                return no(
                    Reason.INVALID_SPEC,
                    f"spec.{path}: {name} is not granted to plugins; an administrator can add it "
                    f"to the chart value {value}.",
                )
    if spec.cnpg.cluster_refresh is ClusterRefresh.ANNOTATE and not grants.cluster_refresh:
        return no(
            Reason.INVALID_SPEC,
            "spec.cnpg.clusterRefresh: the operator may not annotate Clusters; an administrator "
            "can allow it with the chart value clusterRefresh.allowed.",
        )
    return None


def _confusing_labels(given: AcceptanceInput) -> Verdict | None:
    """The pods would receive traffic for others, or have labels that belong to CloudNativePG."""
    if given.plugin.is_sidecar:
        return None
    template = build_pod_template(given.plugin)
    problem = next(find_label_problems(given.plugin, template, given.services), None)
    return no(Reason.INVALID_SPEC, f"{problem}.") if problem else None


def _private_secret(given: AcceptanceInput) -> Verdict | None:
    """The resource names a Secret with another owner's keys."""
    return judge_secrets(given.plugin, given.private)


def _ungranted_certificate(given: AcceptanceInput) -> Verdict | None:
    """The resource requests a certificate that other programs would trust."""
    return judge_issuer(
        IssuerInput(
            plugin=given.plugin,
            issuer=given.issuer,
            granted=given.grants.issuers,
            announced=given.announced_name,
            domain=given.cluster_domain,
        )
    )


def _dangerous_pod(given: AcceptanceInput) -> Verdict | None:
    """The pod, with the user's template merged in, would gain more than its own rights."""
    if given.plugin.is_sidecar:
        return None
    template = build_pod_template(given.plugin)
    problem = next(find_pod_problems(given.plugin, template), None)
    return no(Reason.INVALID_SPEC, f"The pod {problem}.") if problem else None


def _impossible_policy(given: AcceptanceInput) -> Verdict | None:
    """A NetworkPolicy cannot admit CloudNativePG, or the operator, and would refuse them."""
    if not given.plugin.spec.network_policy.enabled:
        return None
    if given.operator_pods is None:
        return no(
            Reason.INVALID_SPEC,
            "spec.networkPolicy.enabled: the operator does not know its own pods, which the policy "
            "must admit; set CNPGP_OPERATOR_PODS (the chart does), or disable the policy.",
        )
    cnpg = given.cnpg[0]
    if mapping(cnpg.template.get("spec")).get("hostNetwork"):
        return no(
            Reason.INVALID_SPEC,
            f"spec.networkPolicy.enabled: Deployment {cnpg.deployment} runs in the network of its "
            "node, so no policy can admit it; disable the policy.",
        )
    return None


def _impossible_sidecar(given: AcceptanceInput) -> Verdict | None:
    """CloudNativePG's pod cannot, or must not, run it."""
    if not given.plugin.is_sidecar:
        return None
    if not given.grants.sidecars:
        return no(
            Reason.INVALID_SPEC,
            "spec.mode: Sidecar is not granted to plugins; an administrator can allow it with the "
            "chart value sidecars.allowed.",
        )
    cnpg = given.cnpg[0]
    if cnpg.environment is None:
        return None
    return judge_sidecar_spec(given.plugin, cnpg, cnpg.environment, given.gate)


def _accepted(given: AcceptanceInput) -> Verdict:
    """Nothing speaks against it."""
    cnpg = given.cnpg[0]
    version = cnpg.version or "of unknown version"
    owner = f", managed by OLM's {cnpg.olm}" if cnpg.olm else ""
    return yes(
        Reason.ACCEPTED,
        f"The spec is valid for CloudNativePG {version} (Deployment {cnpg.deployment}{owner}).",
    )


CHECKS: Final = (
    _confusing_name,
    _cnpg_out_of_place,
    _rival,
    _impossible_take_over,
    _foreign_object,
    _remnant,
    _ungranted,
    _private_secret,
    _ungranted_certificate,
    _dangerous_pod,
    _confusing_labels,
    _impossible_policy,
    _impossible_sidecar,
)
"""In order: CloudNativePG, names, rights."""
