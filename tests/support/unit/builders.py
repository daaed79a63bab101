"""Facts and resources for tests: complete by default, so each test names only its subject."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin, parse_plugin
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.facts.cnpg import (
    Announcement,
    CNPGFacts,
    LeaderFacts,
)
from cnpg_plugin_operator.decide.facts.plugin import (
    CertificateFacts,
    ContainerFacts,
    PairFacts,
    PodFacts,
    WorkloadFacts,
)
from cnpg_plugin_operator.decide.registration.restart import Pace, RestartInput, RestartNeed
from cnpg_plugin_operator.decide.registration.restart_need import RegistrationInput

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
"""The present time of all unit tests."""


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def resource(name: str = "hello", **spec: Any) -> dict[str, Any]:
    """A CNPGPlugin as the API server returns it."""
    return {
        "apiVersion": names.resource.API_VERSION,
        "kind": names.resource.KIND,
        "metadata": {
            "name": name,
            "namespace": "cnpg-system",
            "uid": f"uid-of-{name}",
            "generation": 1,
            "creationTimestamp": "2026-03-01T11:00:00Z",
        },
        "spec": {"pluginName": f"{name}.example.org", "image": "example.org/hello:1", **spec},
    }


def plugin(name: str = "hello", **spec: Any) -> Plugin:
    return parse_plugin(resource(name, **spec))


def cnpg(**facts: Any) -> CNPGFacts:
    """An idle CloudNativePG 1.30.0 whose leader is an hour old."""
    usual = CNPGFacts(
        deployment="cnpg-controller-manager",
        uid="uid-of-cnpg",
        version="1.30.0",
        rolling=False,
        available=True,
        leader=LeaderFacts(pod="cnpg-1", created=ago(3600), restarted_for={}),
        restarted_at=None,
        restarted_for={},
    )
    return replace(usual, **facts)


def leader(created: datetime, **restarted_for: str) -> LeaderFacts:
    return LeaderFacts(pod="cnpg-2", created=created, restarted_for=restarted_for)


def announcement(
    revision: str = "r1", at: datetime | None = None, changed_at: datetime | None = None
) -> Announcement:
    return Announcement(
        revision=revision,
        endpoint="e1",
        announced_at=at or ago(2),
        changed_at=changed_at,
        annotations={},
    )


def restarting(
    facts: CNPGFacts, published: Mapping[str, Announcement], **more: Any
) -> RestartInput:
    """A namespace in which every published plugin needs a restart, unless `needs` says which."""
    needs = {
        name: RestartNeed(each.revision, each.announced_at) for name, each in published.items()
    }
    usual = RestartInput(
        cnpg=facts, needs=needs, published=published, coming=0, pace=Pace(), now=NOW
    )
    return replace(usual, **more)


def registration(**facts: Any) -> RegistrationInput:
    """A plugin announced two seconds ago to an idle CloudNativePG 1.30.0."""
    usual = RegistrationInput(
        name="hello",
        service="hello",
        policy=RestartPolicy.IF_NEEDED,
        announcement=announcement(),
        cnpg=cnpg(),
        event=None,
        clusters=(),
        registered_revision="",
        now=NOW,
    )
    return replace(usual, **facts)


def container(**facts: Any) -> ContainerFacts:
    usual = ContainerFacts(
        name="plugin",
        running_since=ago(3),
        waiting_reason="",
        waiting_message="",
        exit_code=None,
        exit_reason="",
        exit_message="",
        restarts=0,
        ready=False,
        image="example.org/hello:1",
    )
    return replace(usual, **facts)


def pod(*containers: ContainerFacts, **facts: Any) -> PodFacts:
    usual = PodFacts(
        name="hello-5b9f7d6c4-abcde",
        uid="uid-of-pod",
        created=ago(5),
        ready=False,
        deleting=False,
        unschedulable="",
        containers=containers,
    )
    return replace(usual, **facts)


def workload(*pods: PodFacts, **facts: Any) -> WorkloadFacts:
    usual = WorkloadFacts(exists=True, up_to_date=True, wanted=1, updated=1, replicas=1, pods=pods)
    return replace(usual, **facts)


def certificate(
    subject: str = "hello",
    issuer: str | None = None,
    *,
    ca: bool = False,
    since: timedelta = timedelta(days=-30),
    until: timedelta = timedelta(days=60),
    number: int = 1,
    **facts: Any,
) -> CertificateFacts:
    """A certificate, self-signed if no issuer is given; numbers distinguish renewed ones."""
    issuer = issuer or subject
    fingerprint = f"{subject}/{issuer}/{number}/{since}/{until}"
    usual = CertificateFacts(
        subject=f"CN={subject}",
        issuer=f"CN={issuer}",
        subject_der=subject.encode(),
        issuer_der=issuer.encode(),
        dns_names=(),
        not_before=NOW + since,
        not_after=NOW + until,
        extended_key_usages=None,
        key_type="ECDSA P-256",
        is_ca=ca,
        fingerprint=fingerprint,
        encoded=fingerprint.encode(),
    )
    return replace(usual, **facts)


def pair(
    *chain: CertificateFacts, authorities: tuple[CertificateFacts, ...] = (), **facts: Any
) -> PairFacts:
    """A readable Secret with these certificates and the key of the first."""
    usual = PairFacts("server", exists=True, chain=chain, authorities=authorities, key_matches=True)
    return replace(usual, **facts)
