"""A report has what support needs, and nothing that is secret."""

import base64
import io
import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.kubectl.access import Done
from cnpg_plugin_operator.kubectl.program import run
from cnpg_plugin_operator.kubectl.redaction import redact_object, redact_secret, redact_text
from tests.support.unit.fake_kubectl import FakeKubectl, install_operator
from tests.support.unit.stage.stage import Stage

SWORDFISH = "swordfish"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"


def read(path: Path) -> dict[str, str]:
    """The files of an archive by their names, without its folder."""
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        entries = {member.name: archive.extractfile(member) for member in archive}
        return {
            name.partition("/")[2]: file.read().decode() for name, file in entries.items() if file
        }


@pytest.fixture
async def kubectl() -> FakeKubectl:
    """A cluster whose plugin, operator and log have secrets wherever a secret may be."""
    stage = Stage()
    secret = {"name": "TOKEN", "value": SWORDFISH}
    args = [f"--db-password={SWORDFISH}", "--key=/some/file", "--verbose=1"]
    stage.create(tls={"provider": "SelfManaged"}, env=[secret], args=args)
    await stage.settle()
    body = stage.client.the(kinds.PLUGIN, "hello")
    copies = {"kubectl.kubernetes.io/last-applied-configuration": SWORDFISH}
    body["metadata"]["annotations"] = copies
    body["metadata"]["managedFields"] = [{"manager": "ada"}]
    install_operator(stage.client, extra=(secret,))
    found = FakeKubectl(stage.client, answer=Done(1, '{"namespaces": [], "plugins": []}'))
    keys = [stage.client.read(name).get("tls.key", b"").decode() for name in stage.secrets()]
    found.log = f"started\n{PEM}\nAuthorization: Bearer {SWORDFISH * 3}\n" + "\n".join(keys)
    return found


def collect(kubectl: FakeKubectl, directory: Path) -> tuple[int, dict[str, str]]:
    path = directory / "report.tar.gz"
    status = run(["report", "-f", str(path)], lambda _: kubectl)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return status, read(path)


async def test_a_report_has_what_support_needs(kubectl: FakeKubectl, tmp_path: Path) -> None:
    status, files = collect(kubectl, tmp_path)
    assert status == 0
    assert {
        *("cnpgplugins.json", "status.json", "versions.json", "diagnose.json"),
        *("operator/deployment.json", "operator/settings.json", "operator/events.json"),
        *("operator/pods.json", "operator/logs/operator-0.log"),
        *("operator/logs/operator-0.previous.log", "could-not-read.txt"),
        *(f"cnpg-system/{each}.json" for each in ("deployments", "services", "secrets", "events")),
        "cnpg-system/cloudnative-pg.json",
    } <= set(files)
    assert files["could-not-read.txt"].strip() == ""
    settings = json.loads(files["operator/settings.json"])["settings"]
    assert settings == {"CNPGP_NAMESPACES": "cnpg-system"}
    assert json.loads(files["status.json"])["plugins"][0]["name"] == "hello"
    [cnpg] = json.loads(files["cnpg-system/cloudnative-pg.json"])
    assert cnpg["metadata"]["name"] == "cnpg"
    assert json.loads(files["versions.json"])["operatorImage"] == "example.org/operator:1"


async def test_nothing_in_a_report_is_secret(kubectl: FakeKubectl, tmp_path: Path) -> None:
    _, files = collect(kubectl, tmp_path)
    everything = "\n".join(files.values())
    assert SWORDFISH not in everything
    assert "PRIVATE KEY" not in everything
    secrets = [b for b in kubectl.cluster.all_of(kinds.SECRET) if "tls.key" in b["data"]]
    assert len(secrets) >= 4
    for body in secrets:
        key = body["data"]["tls.key"]
        lines = base64.b64decode(key).decode().splitlines()
        assert key[:64] not in everything
        assert not [each for each in lines if "-----" not in each and each in everything]


async def test_of_a_secret_the_keys_and_the_certificates_remain(
    kubectl: FakeKubectl, tmp_path: Path
) -> None:
    _, files = collect(kubectl, tmp_path)
    found = {each["name"]: each for each in json.loads(files["cnpg-system/secrets.json"])}
    server = found["hello-server-tls"]
    assert server["keys"] == ["ca.crt", "tls.crt", "tls.key"]
    assert "hello.cnpg-system.svc" in server["certificates"]["tls.crt"][0]["dnsNames"]
    assert set(server) == {
        *("namespace", "name", "type", "labels", "created", "keys", "certificates")
    }


async def test_the_spec_keeps_what_is_not_secret(kubectl: FakeKubectl, tmp_path: Path) -> None:
    _, files = collect(kubectl, tmp_path)
    [body] = json.loads(files["cnpgplugins.json"])
    assert body["spec"]["args"] == ["--db-password=(redacted)", "--key=/some/file", "--verbose=1"]
    assert body["spec"]["env"] == [{"name": "TOKEN", "value": "(redacted)"}]
    assert "managedFields" not in body["metadata"]


async def test_what_may_not_be_read_is_listed(
    kubectl: FakeKubectl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.forbidden |= {kinds.SECRET, kinds.DEPLOYMENT, kinds.POD}
    status, files = collect(kubectl, tmp_path)
    assert status == 0
    assert (
        "cnpg-system/secrets.json: ada lacks the right to list secrets"
        in files["could-not-read.txt"]
    )
    assert "operator: ada lacks the right to list deployments" in files["could-not-read.txt"]
    assert "left out cnpg-system/secrets.json" in capsys.readouterr().err


async def test_an_operator_without_pods_is_listed(kubectl: FakeKubectl, tmp_path: Path) -> None:
    kubectl.forbidden |= {kinds.POD}
    assert "operator/pods.json: ada" in collect(kubectl, tmp_path)[1]["could-not-read.txt"]


async def test_a_file_that_exists_is_not_overwritten(
    kubectl: FakeKubectl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "there"
    path.write_text("mine")
    assert run(["report", "-f", str(path)], lambda _: kubectl) == 2
    assert path.read_text() == "mine"
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"before {PEM} after", "before (redacted) after"),
        ("-----BEGIN PRIVATE KEY-----\ncut", "(redacted)"),
        ("key " + base64.b64encode(PEM.encode()).decode(), "key (redacted)"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJl.c2lnbmF0dXJl", "(redacted)"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: (redacted)"),
        ("http://ada:secret@proxy:3128/", "http://(redacted)@proxy:3128/"),
        ("http://proxy:3128/ at 12:00 a@b", "http://proxy:3128/ at 12:00 a@b"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_texts_lose_what_looks_like_a_secret(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize("data", [None, {"tls.crt": "no base64 ä"}, {"tls.crt": "bm8gUEVN"}])
def test_a_broken_secret_is_described(data: Any) -> None:
    described = redact_secret({"metadata": {"name": "x"}, "data": data})
    assert described["keys"] == sorted(data or {})
    assert not any(described["certificates"].values())


def test_the_settings_of_both_operators_remain() -> None:
    safe = [
        {"name": "CNPGP_NAMESPACES", "value": "a"},
        {"name": "WATCH_NAMESPACE", "value": "b"},
        {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    pod = {"containers": [{"env": [*safe, {"name": "HTTP_PROXY", "value": SWORDFISH}]}]}
    [container] = redact_object({"spec": pod})["spec"]["containers"]
    assert container["env"] == [*safe, {"name": "HTTP_PROXY", "value": "(redacted)"}]
