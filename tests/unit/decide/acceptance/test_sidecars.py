"""What CloudNativePG's pod cannot take is refused before any roll, with a useful message."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.acceptance.sidecars import judge_sidecar_spec
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.desired.sidecars import Gate
from tests.support.unit.cnpg_pods import GATE, deployed, sidecar_spec

ASSIGNED = deployed(user={})
"""A CloudNativePG whose user the platform assigns."""


def judge(
    spec: dict[str, Any],
    where: CNPGFacts | None = None,
    gate: Gate = GATE,
) -> tuple[Reason, str] | None:
    where = where or deployed()
    assert where.environment is not None
    verdict = judge_sidecar_spec(sidecar_spec(**spec), where, where.environment, gate)
    return (verdict.reason, verdict.message) if verdict is not None else None


@pytest.mark.parametrize(
    ("where", "gate", "reason", "words"),
    [
        pytest.param(
            deployed(olm="cnpg.v1.30.0"), GATE, Reason.UNSUPPORTED_BY_OLM, "cnpg.v1.30.0",
            id="OLM owns the Deployment",
        ),
        pytest.param(
            deployed(kubernetes=(1, 28)), GATE, Reason.UNSUPPORTED_BY_KUBERNETES,
            "Kubernetes 1.28", id="Kubernetes has no native sidecars",
        ),
        pytest.param(
            deployed(), Gate(), Reason.INVALID_SPEC, "CNPGP_SIDECAR_GATE_IMAGE",
            id="the operator does not know its image",
        ),
        pytest.param(
            deployed(mounted="by-hand"), GATE, Reason.NAME_CONFLICT, "volume by-hand",
            id="a foreign volume is mounted there",
        ),
        pytest.param(
            deployed(mounted="by-hand", kubernetes=(1, 28), olm="x"), GATE,
            Reason.UNSUPPORTED_BY_OLM, "OLM", id="what cannot be changed comes first",
        ),
    ],
)  # fmt: skip
def test_an_unsuitable_cloudnativepg_is_reported(
    where: CNPGFacts, gate: Gate, reason: Reason, words: str
) -> None:
    found = judge({}, where, gate)

    assert found is not None
    assert found[0] is reason
    assert words in found[1]


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(deployed(), id="as the manifest has it"),
        pytest.param(deployed(kubernetes=(1, 29)), id="the first Kubernetes with native sidecars"),
        pytest.param(deployed(kubernetes=(2, 0)), id="a Kubernetes of the future"),
        pytest.param(deployed(kubernetes=None), id="a Kubernetes that does not tell"),
        pytest.param(ASSIGNED, id="a user that the platform assigns"),
        pytest.param(deployed(directory="/var/run/plugins/"), id="another directory"),
    ],
)
def test_a_suitable_cloudnativepg_accepts_the_shortest_sidecar(where: CNPGFacts) -> None:
    assert judge({}, where) is None


def args(*arguments: str) -> dict[str, Any]:
    return {"args": list(arguments)}


def volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "x", **source}]}


def mount(path: str, name: str = "x") -> dict[str, Any]:
    return {
        "volumes": [{"name": "x", "emptyDir": {}}],
        "volumeMounts": [{"name": name, "mountPath": path}],
    }


def security(**fields: Any) -> dict[str, Any]:
    return {"securityContext": fields}


TOKEN = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("another account", {"serviceAccount": {"name": "mine"}}, "account, cnpg-manager"),
    ("a token without the account", volume(**TOKEN), "token of CloudNativePG's account"),
    ("a mount over the sockets", mount("/plugins"), "would hide /plugins"),
    ("a mount over the sockets with a slash", mount("/plugins/"), "would hide /plugins"),
    ("a mount below the sockets", mount("/plugins/mine"), "would hide /plugins"),
    ("a mount over everything", mount("/"), "would hide"),
    ("a mount over the token", mount(names.sidecars.TOKEN_DIRECTORY), "would hide /var/run"),
    ("a mount above the token", mount("/var/run"), "would hide /var/run"),
    ("a mount below the token", mount(f"{names.sidecars.TOKEN_DIRECTORY}/x"),
     "would hide /var/run"),
    ("a volume that is none of its own", mount("/data", "scratch-data"), "scratch-data is not"),
    ("the volume of the sockets by name", mount("/x", names.sidecars.VOLUME_SOCKETS), "is not in"),
    ("another user", security(runAsUser=65532), "runs with 10001"),
    ("another group", security(runAsGroup=65532), "runs with 10001"),
    ("root", security(runAsUser=0), "10001"),
    ("any user who may be root", security(runAsNonRoot=False), "not run anything as root"),
    ("privileges", security(privileged=True), "must not be privileged"),
    ("capabilities", security(capabilities={"add": ["SYS_ADMIN"]}), "SYS_ADMIN"),
    ("the node's files", volume(hostPath={"path": "/"}), "files of the node"),
    ("malformed capabilities", security(capabilities=["x"]), "is invalid"),
    ("all of the node's memory", volume(emptyDir={"medium": "Memory"}), "emptyDir.sizeLimit"),
    ("a limit that is the whole pod's",
     {"resources": {"limits": {"ephemeral-storage": "1Gi"}}}, "CloudNativePG's whole pod"),
    *((f"the election {' '.join(words)}", args(*words), "leader-elected") for words in (
        ("--leader-elect",), ("-leader-elect",), ("--leader-elect=true",), ("--leader-elect=1",),
        ("--leader-elect=T",), ("--leader-elect=TRUE",), ("--leader-election",),
        ("--leader-elect", "--verbose"), ("--leader-elect", "true"),
        ("--leader-elect", "false"), ("--leader-elect", "0"),
    )),
    ("an election in the command", {"command": ["/manager", "--leader-elect"]}, "leader-elected"),
    *((f"the port of {words}", args(words), "CloudNativePG uses port") for words in (
        "--metrics-bind-address=:8080", "--metrics-bind-address=0.0.0.0:8080",
        "--webhook-port=9443", "--port=8080", "--addr=[::]:9443", ":8080",
    )),
    ("a port as the next argument", args("--metrics-bind-address", ":8080"), "8080"),
    ("a port in the command", {"command": ["/plugin", "--port=8080"]}, "8080"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_sidecar_is_refused_with(spec: dict[str, Any], words: str) -> None:
    found = judge(spec)

    assert found is not None
    assert found[0] is Reason.INVALID_SPEC
    assert words in found[1]


def test_root_is_refused_where_the_platform_assigns_the_user() -> None:
    found = judge(security(runAsUser=0), ASSIGNED)

    assert found is not None
    assert "not run anything as root" in found[1]


def test_a_port_that_the_manager_declares_is_refused() -> None:
    given = args("--pprof=:6060")

    assert judge(given) is None
    assert judge(given, deployed(ports=frozenset({6060}))) is not None


def test_a_mount_over_a_configured_socket_directory_is_refused() -> None:
    where = deployed(directory="/var/lib/plugins/")

    assert judge(mount("/var/lib/plugins"), where) is not None
    assert judge(mount("/var/lib"), where) is not None
    assert judge(mount("/plugins"), where) is None


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("the plugin's own arguments", args("plugin", "--log-level=debug", "--zap-encoder", "json")),
    ("CloudNativePG's account", {"serviceAccount": {"name": "cnpg-manager"}}),
    ("a token with the account", {"serviceAccount": {"name": "cnpg-manager"}, **volume(**TOKEN)}),
    ("a Secret of its own", volume(secret={"secretName": "mine"})),
    ("a mount of its own", mount("/data")),
    ("a mount beside the sockets", mount("/plugins-data")),
    ("a mount beside the token", mount("/var/run/secrets/kubernetes.io/serviceaccounts")),
    ("the user it gets anyway", security(runAsUser=10001, runAsGroup=10001)),
    ("a root file system to write to", security(readOnlyRootFilesystem=False)),
    ("a capability of the baseline", security(capabilities={"add": ["NET_BIND_SERVICE"]})),
    *((f"no election by {' '.join(words)}", args(*words)) for words in (
        ("--leader-elect=false",), ("--leader-elect=0",), ("--no-leader-elect",),
        ("--leader-elect-id=x",),
    )),
    ("a port of its own", args("--health-probe-bind-address=:8081")),
    ("a metrics server that is off", args("--metrics-bind-address=0")),
    ("a number that is no port", args("--max=8080")),
    ("a port at another host", args("--upstream=http://example.org:8080/api")),
]  # fmt: skip


@pytest.mark.parametrize("spec", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_a_sidecar_is_accepted_with(spec: dict[str, Any]) -> None:
    assert judge(spec) is None


def test_a_little_known_cloudnativepg_accepts_the_shortest_sidecar() -> None:
    bare = deployed(template={}, user={}, ports=frozenset())

    assert judge({}, bare) is None
