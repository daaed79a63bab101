"""CloudNativePG with sidecars, as its own manifest has it until a test differs."""

import json
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.records import SidecarRecord
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, CNPGPod, PodEnvironment
from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts, HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.sidecar.rollout import Roll, Rollout
from cnpg_plugin_operator.decide.sidecar.sidecar import SidecarInput
from cnpg_plugin_operator.decide.sidecar.sidecar_set import Candidate, Member
from cnpg_plugin_operator.desired.sidecars import Gate, Place, Sidecar
from tests.support.unit.builders import NOW, ago, cnpg, container, leader, plugin, pod
from tests.support.unit.server_side_apply import apply_part

MANIFEST = Path(__file__).parent / "cnpg-deployment.yaml"
DEPLOYMENT: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())

PLACE = Place("/plugins", {"runAsUser": 10001, "runAsGroup": 10001})
ENVIRONMENT = PodEnvironment(
    directory=PLACE.directory,
    user=PLACE.user,
    account="cnpg-manager",
    ports=frozenset({8080, 9443}),
    kubernetes=(1, 33),
)
GATE = Gate(image="example.org/cnpg-plugin-operator:1.0.0")


def deployment() -> dict[str, Any]:
    """CloudNativePG 1.30.0 as its manifest has it."""
    return deepcopy(DEPLOYMENT)


def template(part: dict[str, Any] | None = None) -> dict[str, Any]:
    """Its pod template, with a part applied."""
    live: dict[str, Any] = deployment()["spec"]["template"]
    apply_part(live, {}, part or {})
    return live


def deployed(part: dict[str, Any] | None = None, **facts: Any) -> CNPGFacts:
    """What is read of it where there are sidecars, with a part of the pod template applied."""
    live = template(part)
    if part is None and facts.get("pods"):
        # It was rolled out: the newest pod was created from it.
        stands = json.dumps(dict(facts["pods"][-1].sidecars))
        live["metadata"]["annotations"] = {names.annotations.SIDECARS: stands}
    inside = {name: facts.pop(name) for name in PodEnvironment.__slots__ if name in facts}
    return cnpg(
        **{
            "template": live,
            "leader": replace(leader(ago(3600)), pod="cnpg-1"),
            "environment": replace(ENVIRONMENT, **inside),
            **facts,
        }
    )


def sidecar_spec(name: str = "hello", **spec: Any) -> Plugin:
    """A plugin in mode Sidecar."""
    return plugin(name, mode="Sidecar", **spec)


def candidate(name: str = "hello", spec: dict[str, Any] | None = None, **facts: Any) -> Candidate:
    """An accepted resource in mode Sidecar without a record."""
    usual = Candidate(
        name=name,
        socket=f"{name}.example.org",
        plugin=sidecar_spec(name, **(spec or {})),
        accepted=True,
        record=SidecarRecord(),
        policy=RestartPolicy.IF_NEEDED,
    )
    return replace(usual, **facts)


def identified(name: str = "hello.example.org", version: str = "1.0.0") -> HandshakeOutcome:
    return HandshakeOutcome(Reason.IDENTIFIED, "answered", Identity(name, version))


def cnpg_pod(
    *containers: ContainerFacts,
    name: str = "cnpg-1",
    created: datetime | None = None,
    ready: bool = True,
    unschedulable: str = "",
    **facts: Any,
) -> CNPGPod:
    """A pod of CloudNativePG that was started with sidecar hello, which answered the gate."""
    found = pod(
        *(containers or (sidecar_container(),)),
        name=name,
        created=created or ago(3600),
        ready=ready,
        unschedulable=unschedulable,
    )
    usual = CNPGPod(
        pod=found,
        sidecars={"hello": "r1"},
        verdicts={"hello.example.org": identified()},
        gate_ended=ago(3500),
        gate_started=True,
    )
    return replace(usual, **facts)


def sidecar_container(name: str = "hello", **facts: Any) -> ContainerFacts:
    usual = container(name=names.sidecars.container(name), running_since=ago(3550), ready=True)
    return replace(usual, **facts)


WANTED = Sidecar("hello", "hello.example.org", "r1", {"name": "cnpg-plugin-hello"}, ())
SEEN = SidecarRecord(1, "r1", present=True)


def situation(**facts: Any) -> SidecarInput:
    """A sidecar that CloudNativePG's only pod, which leads, was started with."""
    usual = SidecarInput(
        namespace="cnpg-system",
        name="hello",
        socket="hello.example.org",
        member=Member(SEEN, WANTED, applied=WANTED),
        rollout=Rollout(Roll.NOTHING),
        pending=False,
        cnpg=deployed(pods=(cnpg_pod(),)),
        clusters=(),
        now=NOW,
    )
    return replace(usual, **facts)
