"""Whether CloudNativePG uses the announced revision of a plugin, and what prevents it if not.

The cheapest sufficient action is chosen: none, a touch of our own Service (CloudNativePG rebuilds
its connection), or a restart. Everything is decided from the state of the cluster, so an operator
that is killed at any point neither forgets an announcement nor repeats a restart.
"""

from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.facts.cnpg_versions import discovers, parse_version, reports_events
from cnpg_plugin_operator.decide.facts.version_skew import add_skew
from cnpg_plugin_operator.decide.registration.cluster_reports import (
    ANOTHER_IDENTITY,
    STALE_GRACE,
    describe_blocked,
    describe_report,
    find_outdated,
    list_names,
)
from cnpg_plugin_operator.decide.registration.proxy import describe_proxy
from cnpg_plugin_operator.decide.registration.restart_need import (
    DISCOVERY_GRACE,
    RegistrationInput,
    is_covered,
    restart_reason,
)
from cnpg_plugin_operator.decide.registration.reverts import (
    MOST_ATTEMPTS,
    count_reverts,
    describe_other_writer,
)
from cnpg_plugin_operator.decide.registration.touch import (
    BLOCKED,
    TOUCH_GRACE,
    describe_touch,
    find_blocked,
)


def decide_registration(given: RegistrationInput) -> Verdict:
    """Evaluate whether CloudNativePG uses the announced revision."""
    verdict = first(CHECKS, given) or _awaiting(given)
    if verdict.is_true and (proxied := _describe_proxy(given)):
        verdict = yes(verdict.reason, f"{verdict.message} {proxied}")
    return add_skew(verdict, given.identity, given.cnpg.version)


def _describe_proxy(given: RegistrationInput) -> str:
    port = given.announcement.annotations.get(names.cnpg.PLUGIN_PORT, "")
    return describe_proxy(given.cnpg, given.service, port)


def _down(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG does not run; a rollout in progress does not count, unless it is stuck."""
    cnpg = given.cnpg
    if cnpg.available or (cnpg.rolling and not cnpg.stuck):
        return None
    trouble = f": {cnpg.stuck}" if cnpg.stuck else ""
    return no(
        Reason.CNPG_UNAVAILABLE,
        f"Deployment {cnpg.deployment} of CloudNativePG has no available replica{trouble}.",
    )


def _leaderless(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG has no leader, and not because of a restart by this operator."""
    cnpg = given.cnpg
    if given.is_known or given.was_requested or (cnpg.leader is not None and cnpg.available):
        return None
    if cnpg.stuck:
        return no(
            Reason.CNPG_UNAVAILABLE,
            f"Deployment {cnpg.deployment} of CloudNativePG does not start: {cnpg.stuck}.",
        )
    return unknown(
        Reason.CNPG_UNAVAILABLE,
        f"Deployment {cnpg.deployment} of CloudNativePG has no leader at the moment.",
    )


def _restart_needed(given: RegistrationInput) -> Verdict | None:
    """Only a restart makes CloudNativePG use this revision."""
    reason = restart_reason(given)
    if reason is None:
        return None
    cnpg, target = given.cnpg, f"Deployment {given.cnpg.deployment}"
    if given.policy is RestartPolicy.NEVER:
        return no(
            Reason.RESTART_FORBIDDEN,
            f"{target} has to be restarted ({reason}), but cnpg.restartPolicy is Never: "
            f"{restart_command(cnpg)}",
        )
    if cnpg.stuck:
        return no(
            Reason.RESTART_STUCK,
            f"{target} has to be restarted ({reason}), but its rollout makes no progress: "
            f"{cnpg.stuck}. Its previous pod keeps running; the operator waits until the rollout "
            "succeeds.",
        )
    if given.was_requested:
        return unknown(Reason.RESTARTING, f"{target} is being restarted: {reason}.")
    if count_reverts(given.name, given.announcement.revision, cnpg) >= MOST_ATTEMPTS:
        return _reverted(given, reason)
    return unknown(Reason.RESTART_PENDING, f"{target} will be restarted: {reason}.")


def _reverted(given: RegistrationInput, reason: str) -> Verdict:
    """Another party reverts the restart; a third attempt would not succeed either."""
    cnpg = given.cnpg
    return no(
        Reason.RESTART_REVERTED,
        f"Deployment {cnpg.deployment} has to be restarted ({reason}), but its manager removed "
        f"annotation {names.annotations.RESTARTED_AT} from its pod template {MOST_ATTEMPTS} "
        f"times{describe_other_writer(cnpg)}. Let it ignore that annotation, "
        f"or delete CloudNativePG's pods yourself: {_deletion(cnpg)}",
    )


def refuse_deletion(cnpg: CNPGFacts, namespace: str, pod: str, words: str) -> Verdict:
    """Report that the operator may not delete a pod, which it has to do under OLM."""
    return no(
        Reason.RESTART_FORBIDDEN,
        f"Deployment {cnpg.deployment} has to be restarted. OLM's {cnpg.olm} owns it, so its pods "
        f"are deleted instead, which is refused: {words.removesuffix('.')}. Set cnpg.olm: true in "
        f"the values of this operator's chart, or delete the pod yourself: kubectl delete pod "
        f"{pod} -n {namespace}",
    )


def restart_command(cnpg: CNPGFacts) -> str:
    """Return the command for the user; OLM reverts a `rollout restart` (its issue #3392)."""
    if cnpg.olm:
        return _deletion(cnpg)
    return f"kubectl rollout restart deployment {cnpg.deployment} -n {cnpg.namespace}"


def _deletion(cnpg: CNPGFacts) -> str:
    leader = cnpg.leader.pod if cnpg.leader else f"-l {names.labels.NAME}={names.cnpg.APP}"
    return f"kubectl delete pod {leader} -n {cnpg.namespace}"


def _rejected(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG reports that it could not register the plugin."""
    event = given.event
    if event is not None and event.warning and event.at >= given.announcement.last_announced_at:
        return no(
            Reason.CNPG_REJECTED,
            f"CloudNativePG refuses Service {given.service}: {event.reason}: {event.message}",
        )
    return None


def _blocked(given: RegistrationInput) -> Verdict | None:
    """Clusters are still not reconciled because of the plugin, although the Service was touched."""
    blocked, touch = find_blocked(given.clusters), given.announcement.touch
    if not blocked:
        return None
    state = f"{describe_blocked(blocked).strip()}"
    if proxied := _describe_proxy(given):
        return no(Reason.CLUSTERS_BLOCKED, f"{state} {proxied}")
    again = touch is not None and touch.reason == BLOCKED and touch.times > 1
    if again or given.waiting >= TOUCH_GRACE:
        return no(
            Reason.CLUSTERS_BLOCKED,
            f"{state} Touching Service {given.service} does not change that: look at the log of "
            f"the plugin and of Deployment {given.cnpg.deployment}.",
        )
    return _touched_for(given, state) if touch is not None else None


def _touched(given: RegistrationInput) -> Verdict | None:
    """The Service was touched because CloudNativePG may use another one; it has not reacted yet."""
    version, event = parse_version(given.cnpg.version), given.event
    touch = given.announcement.touch
    if touch is None or touch.reason.startswith(ANOTHER_IDENTITY) or version is None:
        return None
    answered = event is not None and event.at >= touch.at
    if answered or not reports_events(version) or given.waiting >= TOUCH_GRACE:
        return None
    return _touched_for(given, "")


def _touched_for(given: RegistrationInput, state: str) -> Verdict:
    touch = given.announcement.touch
    because = f" ({describe_touch(touch)})" if touch is not None else ""
    words = f" {state}" if state else ""
    return unknown(
        Reason.REREGISTERING,
        f"Service {given.service} was touched so that CloudNativePG registers it again{because}."
        f"{words}",
    )


def _reported_by_cluster(given: RegistrationInput) -> Verdict | None:
    """A Cluster's status shows the identity of the handshake: CloudNativePG has called the plugin.

    That may have been before this announcement; where CloudNativePG writes Events, they count
    first.
    """
    version = parse_version(given.cnpg.version)
    eventful = version is not None and reports_events(version)
    if eventful and given.waiting < DISCOVERY_GRACE:
        return None
    report = describe_report(given.clusters, given.identity)
    return yes(Reason.REGISTERED, f"{report}{_lagging(given)}") if report else None


def _reported_by_event(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG has written an Event since the announcement."""
    event = given.event
    if event is None or event.warning or event.at < given.announcement.last_announced_at:
        return None
    return yes(
        Reason.REGISTERED,
        f"CloudNativePG registered Service {given.service}: {event.reason}.{_lagging(given)}",
    )


def _silent_version(given: RegistrationInput) -> Verdict | None:
    """This version registers by itself and never reports it."""
    version = parse_version(given.cnpg.version)
    if version is None or not discovers(version) or reports_events(version):
        return None
    return yes(
        Reason.ANNOUNCED,
        f"CloudNativePG {given.cnpg.version} reads Service {given.service} by itself and reports "
        f"nothing until a Cluster uses the plugin.{_lagging(given)}",
    )


def _registered_before(given: RegistrationInput) -> Verdict | None:
    """It was registered before; Events are kept for only an hour."""
    if not given.is_known:
        return None
    return yes(
        Reason.REGISTERED,
        f"CloudNativePG has registered Service {given.service}.{_lagging(given)}",
    )


def _started_later(given: RegistrationInput) -> Verdict | None:
    """CloudNativePG started after the announcement and has had enough time; its Events expired."""
    covered = is_covered(given.name, given.announcement, given.cnpg)
    if not covered or given.waiting < DISCOVERY_GRACE:
        return None
    return yes(
        Reason.ANNOUNCED,
        f"CloudNativePG has started since Service {given.service} was published, and read it then."
        f"{_lagging(given)}",
    )


def _awaiting(given: RegistrationInput) -> Verdict:
    """The Service is published; CloudNativePG has not reported its registration."""
    hint = (
        f" It has had {DISCOVERY_GRACE.seconds} s: look at the log of Deployment "
        f"{given.cnpg.deployment}."
        if given.waiting >= DISCOVERY_GRACE
        else ""
    )
    if given.registered_revision:
        return unknown(
            Reason.REREGISTERING,
            f"Service {given.service} was touched; CloudNativePG has not reported yet that it "
            f"rebuilt its connection.{hint}",
        )
    return unknown(
        Reason.AWAITING_REGISTRATION,
        f"Service {given.service} is published; CloudNativePG has not reported yet that it "
        f"registered it.{hint}",
    )


def _lagging(given: RegistrationInput) -> str:
    """Name the Clusters that do not show the registered identity or are blocked; or nothing."""
    if given.waiting < STALE_GRACE:
        return ""
    words = ""
    if outdated := find_outdated(given.clusters, given.identity):
        versions = sorted({c.plugin_status.version for c in outdated if c.plugin_status})
        words += (
            f" Still shown with version {', '.join(versions)} or other capabilities by "
            f"{list_names(outdated)}, until CloudNativePG reconciles them (within 10 h; see "
            "spec.cnpg.clusterRefresh)."
        )
    return words + describe_blocked(given.clusters)


CHECKS: Final = (
    _down,
    _leaderless,
    _restart_needed,
    _rejected,
    _blocked,
    _touched,
    _reported_by_event,
    _reported_by_cluster,
    _silent_version,
    _registered_before,
    _started_later,
)
"""In this order: obstacles, then the evidence of a registration, the strongest first."""
