"""What CloudNativePG's pod template contains for all sidecars, and what is no drift."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnpg_plugin_operator import names
from cnpg_plugin_operator.desired.drift import first_difference
from cnpg_plugin_operator.desired.sidecars import (
    MIN_READY_SECONDS,
    Gate,
    Place,
    Sidecar,
    build_sidecar,
    build_spec,
    build_template,
    find_template_drift,
    keep_sidecar,
    read_sidecars,
)
from tests.support.unit.cnpg_pods import GATE, PLACE, deployment, sidecar_spec, template
from tests.support.unit.server_side_apply import apply_part

GOLDEN = Path(__file__).parent / "golden"
ASSIGNED = Place("/var/run/plugins", {})
"""On OpenShift: another directory, and the user that the platform assigns to the namespace."""

HELLO: dict[str, Any] = {"image": "example.org/hello:1", "args": ["plugin"]}
BARMAN: dict[str, Any] = {
    "image": "example.org/barman:1",
    "imagePullPolicy": "Always",
    "imagePullSecrets": [{"name": "registry"}],
    "command": ["/manager"],
    "args": ["operator"],
    "serverArguments": "None",
    "serviceAccount": {"name": "cnpg-manager"},
    "env": [{"name": "SIDECAR_IMAGE", "value": "example.org/sidecar:1"}],
    "envFrom": [{"configMapRef": {"name": "barman"}}],
    "resources": {"requests": {"cpu": "100m"}},
    "probes": {"liveness": {"tcpSocket": {"port": 8081}}},
}
VOLUMES: dict[str, Any] = {
    "image": "example.org/volumes:1",
    "imagePullSecrets": [{"name": "registry"}, {"name": "other"}],
    "volumes": [
        {"name": "data", "emptyDir": {}},
        {"name": "settings", "configMap": {"name": "settings"}},
    ],
    "volumeMounts": [
        {"name": "data", "mountPath": "/data"},
        {"name": "data", "mountPath": "/cache", "subPath": "cache"},
        {"name": "settings", "mountPath": "/etc/settings", "readOnly": True},
    ],
}
TRIO = {"hello": HELLO, "barman": BARMAN, "volumes": VOLUMES}


def build(specs: dict[str, dict[str, Any]], place: Place = PLACE) -> list[Sidecar]:
    return [build_sidecar(sidecar_spec(name, **spec), place) for name, spec in specs.items()]


def part(specs: dict[str, dict[str, Any]], place: Place = PLACE) -> dict[str, Any]:
    return build_template(build(specs, place), place, GATE, template())


def defaulted(live: dict[str, Any]) -> dict[str, Any]:
    """A pod template with what the API server adds to every container and volume."""
    live = deepcopy(live)
    live["metadata"]["creationTimestamp"] = None
    pod = live["spec"]
    pod |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default"}
    for container in pod.get("initContainers", []) + pod["containers"]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("resources", {})
        if "livenessProbe" in container:
            container["livenessProbe"] |= {"periodSeconds": 10, "failureThreshold": 3}
        for variable in container.get("env", []):
            field = variable.get("valueFrom", {}).get("fieldRef", {})
            field.setdefault("apiVersion", "v1")
    for volume in pod["volumes"]:
        for source in ("configMap", "secret"):
            if source in volume:
                volume[source].setdefault("defaultMode", 420)
    return live


@pytest.mark.parametrize(
    ("name", "specs", "place"),
    [
        pytest.param("one", {"hello": HELLO}, PLACE, id="one sidecar"),
        pytest.param("three", TRIO, PLACE, id="three sidecars"),
        pytest.param("assigned", {"hello": HELLO}, ASSIGNED, id="users that the platform assigns"),
    ],
)
def test_the_template_equals_the_golden_one(
    name: str, specs: dict[str, dict[str, Any]], place: Place
) -> None:
    reviewed = yaml.safe_load((GOLDEN / f"sidecars-{name}.yaml").read_text())

    assert part(specs, place) == reviewed


def test_the_order_of_resources_changes_nothing() -> None:
    backwards = dict(reversed(TRIO.items()))

    assert json.dumps(part(backwards)) == json.dumps(part(TRIO))


def test_the_gate_comes_last_and_waits_for_every_socket() -> None:
    *sidecars, gate = part(TRIO)["spec"]["initContainers"]

    assert gate["name"] == names.sidecars.GATE
    assert gate["args"][4:] == [f"{name}/{name}.example.org" for name in sorted(TRIO)]
    assert all(container["restartPolicy"] == "Always" for container in sidecars)
    assert "restartPolicy" not in gate


def test_each_sidecar_has_its_own_socket_directory_that_nothing_else_can_write() -> None:
    spec = part(TRIO)["spec"]
    *sidecars, gate = spec["initContainers"]
    writers: dict[str, list[str]] = {}
    for container in [*spec["initContainers"], *spec["containers"]]:
        for mount in container["volumeMounts"]:
            if not mount.get("readOnly") and mount["name"].startswith("cnpg-plugins-"):
                writers.setdefault(mount["name"], []).append(container["name"])

    own = {names.sidecars.socket_volume(name): [names.sidecars.container(name)] for name in TRIO}
    assert writers == {**own, names.sidecars.VOLUME_SOCKETS: [names.sidecars.GATE]}
    (manager,) = spec["containers"]
    for container in (manager, gate):
        seen = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        assert seen["/plugins"] == names.sidecars.VOLUME_SOCKETS
        for name in TRIO:
            assert seen[f"/cnpg-plugins/{name}"] == names.sidecars.socket_volume(name)
    paths = {m["mountPath"] for c in sidecars for m in c["volumeMounts"]}
    assert not [path for path in paths if path.startswith("/cnpg-plugins")]


def test_sockets_and_links_cannot_fill_a_disk() -> None:
    volumes = {volume["name"]: volume for volume in part(TRIO)["spec"]["volumes"]}

    for name in (names.sidecars.VOLUME_SOCKETS, *map(names.sidecars.socket_volume, TRIO)):
        assert volumes[name]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}


@pytest.mark.parametrize("name", ["a", "a" * 29, "a" * 30, "a" * 253])
def test_the_path_of_every_socket_is_short_enough(name: str) -> None:
    path = f"{names.sidecars.socket_directory(name)}/{'p' * 63}"

    assert len(path) <= 107


def shared(live: dict[str, Any]) -> dict[str, Any]:
    """The template of version 0.1: one directory for all."""
    live = deepcopy(live)
    pod = live["spec"]
    mount = {"name": names.sidecars.VOLUME_SOCKETS, "mountPath": "/plugins"}
    for container in [*pod["initContainers"], *pod["containers"]]:
        others = [
            m
            for m in container["volumeMounts"]
            if not m["name"].startswith(("cnpg-plugins-socket-", names.sidecars.VOLUME_SOCKETS))
        ]
        container["volumeMounts"] = [dict(mount), *others]
    pod["volumes"] = [
        {"name": names.sidecars.VOLUME_SOCKETS, "emptyDir": {}},
        *(v for v in pod["volumes"] if not v["name"].startswith("cnpg-plugins-socket")),
    ]
    return live


def test_sidecars_of_an_older_layout_are_kept_separately() -> None:
    previous = shared(part(TRIO))
    live = template(previous)
    kept = [keep_sidecar(name, f"{name}.example.org", live) for name in TRIO]
    again = build_template([s for s in kept if s is not None], PLACE, GATE, live)

    assert find_template_drift(again, live) is not None
    assert again == part(TRIO)
    apply_part(live, previous, deepcopy(again))
    assert find_template_drift(build_template(build(TRIO), PLACE, GATE, live), live) is None


PULLING = Gate(image=GATE.image, pull_secrets=("company",))


def test_the_gate_brings_its_own_pull_secrets() -> None:
    (hello,) = build({"hello": HELLO})
    alone = build_template([hello], PLACE, PULLING, template())
    assert alone["spec"]["imagePullSecrets"] == [{"name": "company"}]

    together = build_template(build(TRIO), PLACE, PULLING, template())
    found = [secret["name"] for secret in together["spec"]["imagePullSecrets"]]
    assert sorted(found) == ["company", "other", "registry"]


@pytest.mark.parametrize(
    ("before", "after"), [(PULLING, GATE), (GATE, PULLING)], ids=["taken away", "added"]
)
def test_a_gate_that_stays_keeps_its_pull_secrets(before: Gate, after: Gate) -> None:
    live = defaulted(template(build_template(build(TRIO), PLACE, before, template())))

    again = build_template(build(TRIO), PLACE, after, live)

    assert find_template_drift(again, live) is None
    assert again["spec"]["imagePullSecrets"] == live["spec"]["imagePullSecrets"]


@pytest.mark.parametrize(
    ("present", "deadline", "applied"),
    [
        pytest.param(0, 600, MIN_READY_SECONDS, id="none is set"),
        pytest.param(MIN_READY_SECONDS, 600, MIN_READY_SECONDS, id="this operator has set it"),
        pytest.param(30, 600, None, id="a user has set more"),
        pytest.param(1, 600, None, id="a user has set less"),
        pytest.param(0, MIN_READY_SECONDS, None, id="the API server would refuse it"),
    ],
)
def test_a_pod_with_sidecars_has_to_stay_ready_for_a_moment(
    present: int, deadline: int, applied: int | None
) -> None:
    spec = build_spec(part({"hello": HELLO}), present, deadline)

    assert spec["template"] == part({"hello": HELLO})
    assert spec.get("minReadySeconds") == applied


def test_without_sidecars_nothing_of_the_deployment_is_owned() -> None:
    assert build_spec({}, MIN_READY_SECONDS, 600) == {}


def test_without_sidecars_the_template_is_empty() -> None:
    assert build_template([], PLACE, GATE, template(part(TRIO))) == {}
    live = template(part(TRIO))
    apply_part(live, part(TRIO), {})
    assert live == deployment()["spec"]["template"]


@pytest.mark.parametrize("account", ["", "cnpg-manager"])
def test_only_a_sidecar_that_names_cloudnativepgs_account_gets_its_token(account: str) -> None:
    spec = {"serviceAccount": {"name": account}} if account else {}
    (sidecar,) = build({"hello": {**HELLO, **spec}})

    paths = [mount["mountPath"] for mount in sidecar.container["volumeMounts"]]
    assert (names.sidecars.TOKEN_DIRECTORY in paths) is not bool(account)


def test_the_gate_never_gets_a_token() -> None:
    gate = part({"barman": BARMAN})["spec"]["initContainers"][-1]

    assert names.sidecars.TOKEN_DIRECTORY in [mount["mountPath"] for mount in gate["volumeMounts"]]


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        pytest.param({"image": "example.org/hello:2"}, True, id="another image"),
        pytest.param({"env": [{"name": "A", "value": "1"}]}, True, id="another variable"),
        pytest.param({"imagePullSecrets": [{"name": "x"}]}, True, id="another pull secret"),
        pytest.param({"volumes": [{"name": "x", "emptyDir": {}}]}, True, id="another volume"),
        pytest.param({"cnpg": {"restartPolicy": "Never"}}, False, id="another policy"),
        pytest.param({"deletionPolicy": "Delete"}, False, id="another protection"),
        pytest.param({"suspend": True}, False, id="a suspension"),
    ],
)
def test_a_revision_changes_only_with_the_pod(change: dict[str, Any], *, differs: bool) -> None:
    (before,), (after,) = build({"hello": HELLO}), build({"hello": {**HELLO, **change}})

    assert (before.revision != after.revision) is differs


def test_another_operator_image_keeps_the_gate_while_the_sidecars_stay() -> None:
    newer = Gate(image="example.org/cnpg-plugin-operator:2.0.0")
    live = defaulted(template(part(TRIO)))

    again = build_template(build(TRIO), PLACE, newer, live)

    assert again["spec"]["initContainers"][-1]["image"] == GATE.image
    assert find_template_drift(again, live) is None


def test_another_operator_image_is_used_from_the_next_change() -> None:
    newer = Gate(image="example.org/cnpg-plugin-operator:2.0.0")
    live = defaulted(template(part({"hello": HELLO})))

    again = build_template(build(TRIO), PLACE, newer, live)

    assert again["spec"]["initContainers"][-1]["image"] == newer.image


@pytest.mark.parametrize("specs", [{"hello": HELLO}, TRIO], ids=["one", "three"])
def test_what_the_api_server_adds_is_no_drift(specs: dict[str, dict[str, Any]]) -> None:
    wanted = part(specs)

    assert find_template_drift(wanted, defaulted(template(wanted))) is None


def test_two_mounts_of_one_volume_are_distinguished_by_their_paths() -> None:
    live = template(part(TRIO))
    mounts = live["spec"]["initContainers"][2]["volumeMounts"]
    assert [m["mountPath"] for m in mounts][2:] == ["/data", "/cache", "/etc/settings"]
    mounts.reverse()

    assert find_template_drift(part(TRIO), live) is None
    mounts[:] = [mount for mount in mounts if mount["mountPath"] != "/cache"]
    assert find_template_drift(part(TRIO), live) is not None


def change(live: dict[str, Any], what: str) -> None:
    pod = live["spec"]
    match what:
        case "an image":
            pod["initContainers"][0]["image"] = "example.org/other"
        case "a sidecar is gone":
            del pod["initContainers"][1]
        case "the gate is gone":
            del pod["initContainers"][-1]
        case "the mount of the manager is gone":
            pod["containers"][0]["volumeMounts"] = []
        case "a volume is gone":
            pod["volumes"] = [
                v for v in pod["volumes"] if v["name"] != names.sidecars.VOLUME_SOCKETS
            ]
        case "the annotation is gone":
            live["metadata"].pop("annotations")
        case "everything is gone":
            live.clear()
        case _:
            raise AssertionError(what)


@pytest.mark.parametrize(
    "what",
    [
        "an image",
        "a sidecar is gone",
        "the gate is gone",
        "the mount of the manager is gone",
        "a volume is gone",
        "the annotation is gone",
        "everything is gone",
    ],
)
def test_a_removed_part_is_drift(what: str) -> None:
    live = defaulted(template(part(TRIO)))
    change(live, what)

    again = build_template(build(TRIO), PLACE, GATE, live)

    assert find_template_drift(again, live) is not None


@pytest.mark.parametrize(
    ("live", "drift"),
    [
        pytest.param(template(), None, id="nothing of it"),
        pytest.param(template(part(TRIO)), "metadata.annotations", id="all of it"),
        pytest.param(
            {"spec": {"initContainers": [{"name": names.sidecars.GATE}]}}, "metadata.annotations",
            id="a gate alone",
        ),
        pytest.param({}, None, id="no template at all"),
    ],
)  # fmt: skip
def test_leftovers_are_drift_where_no_sidecar_is_wanted(
    live: dict[str, Any], drift: str | None
) -> None:
    assert find_template_drift({}, live) == drift


@pytest.mark.parametrize("name", TRIO)
def test_a_kept_sidecar_stays_unchanged(name: str) -> None:
    live = defaulted(template(part(TRIO)))
    built = next(each for each in build(TRIO) if each.name == name)

    kept = keep_sidecar(name, f"{name}.example.org", live)

    assert kept is not None
    assert (kept.name, kept.socket, kept.revision) == (name, built.socket, built.revision)
    assert first_difference(built.container, kept.container) is None
    assert [v["name"] for v in kept.volumes] == [v["name"] for v in built.volumes]


def test_a_kept_set_equals_the_present_one() -> None:
    live = defaulted(template(part(TRIO)))
    kept = [keep_sidecar(name, f"{name}.example.org", live) for name in TRIO]

    again = build_template([k for k in kept if k is not None], PLACE, GATE, live)

    assert find_template_drift(again, live) is None
    after = deepcopy(live)
    apply_part(after, part(TRIO), again)
    assert after == live


@pytest.mark.parametrize(
    "live",
    [
        pytest.param({}, id="no template"),
        pytest.param(template(), id="no sidecar"),
        pytest.param(
            {"metadata": {"annotations": {names.annotations.SIDECARS: '{"hello": "r1"}'}}},
            id="an annotation alone",
        ),
        pytest.param(
            {"spec": {"initContainers": [{"name": "cnpg-plugin-hello"}]}}, id="a container alone"
        ),
    ],
)
def test_a_missing_sidecar_is_not_kept(live: dict[str, Any]) -> None:
    assert keep_sidecar("hello", "hello.example.org", live) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"'])
def test_a_malformed_annotation_counts_as_none(text: str) -> None:
    assert read_sidecars({"metadata": {"annotations": {names.annotations.SIDECARS: text}}}) == {}


LONG = [
    ("a" * 63, "data"),
    ("a" * 62 + "b", "data"),
    ("a" * 253, "d" * 63),
    ("a" * 253, "d" * 62 + "e"),
    ("hello", "d" * 63),
    ("hello-world", "x"),
    ("hello", "world-x"),
    ("hello--world", "x"),
    ("hello", "world--x"),
]
"""Names that would collide if their parts were only joined come in pairs."""


def test_the_longest_names_stay_valid_and_unique() -> None:
    containers = {name: names.sidecars.container(name) for name, _ in LONG}
    volumes = {each: names.sidecars.volume(*each) for each in LONG}

    for label in (*containers.values(), *volumes.values()):
        assert len(label) <= 63
        assert label.startswith(names.sidecars.PREFIX)
        assert label[-1].isalnum()
    assert len(set(containers.values())) == len(containers)
    assert len(set(volumes.values())) == len(volumes)


@pytest.mark.parametrize("name", ["gate", "s-gate", "s-sockets"])
def test_no_plugins_name_collides_with_the_operators_own(name: str) -> None:
    own = {
        names.sidecars.GATE,
        names.sidecars.VOLUME_SOCKETS,
        names.sidecars.VOLUME_NO_TOKEN,
        names.sidecars.socket_volume(name),
    }

    assert names.sidecars.socket_volume(name) not in {
        names.sidecars.VOLUME_SOCKETS,
        names.sidecars.VOLUME_NO_TOKEN,
    }
    assert names.sidecars.container(name) not in own
    assert names.sidecars.volume(name, "x") not in own
