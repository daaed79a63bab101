"""No private key is visible anywhere. Runs last of its kind, to check what the others left."""

import base64
import json
import tarfile
from pathlib import Path

import pytest

from tests.e2e.names import SHARED
from tests.support.e2e.api import CORE
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import NAMESPACE, plugin

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.looks_back]

MARK = "PRIVATE KEY"


def private_lines(operator: Operator) -> set[str]:
    """Every line of every private key, both as PEM and as the API shows it."""
    lines: set[str] = set()
    for secret in operator.api.list(collection("Secret")):
        key = (secret.get("data") or {}).get("tls.key")
        if key:
            pem = base64.b64decode(key).decode()
            lines |= {line for line in pem.splitlines() if line and "-----" not in line}
            lines.add(key[:64])
    return lines


def read_report(operator: Operator, path: Path) -> str:
    """Everything in a report for a support case, with the names of its files."""
    done = operator.from_outside("report", f"--namespace={NAMESPACE}", f"--file={path}")
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        texts = [f"{name}\n{file.read().decode()}" for name, file in files.items() if file]
    assert f"/{NAMESPACE}/secrets.json" in "\n".join(files)
    return "\n".join(texts)


def test_no_private_key_is_in_logs_events_or_statuses(
    operator: Operator, plugins: Plugins, shared: Plugins, tmp_path: Path
) -> None:
    plugins.apply(plugin("secretive", tls={"provider": "SelfManaged"}))
    plugins.until_ready("secretive")
    keys = private_lines(operator)
    assert len(keys) > 10, "there are keys to look for"
    places = {
        "the operator's log": operator.log(),
        "events": json.dumps(operator.api.list(f"{CORE}/events")),
        "resources": json.dumps(operator.api.list(collection("CNPGPlugin"))),
        "Services": json.dumps(operator.api.list(collection("Service"))),
        "Deployments": json.dumps(operator.api.list(collection("Deployment"))),
        "/metrics": operator.http("/metrics")[1],
        "messages of the plugin": shared.explain(SHARED),
        "what diagnose says": str(operator.diagnose("--output=json")),
        "a report": read_report(operator, tmp_path / "report.tar.gz"),
    }
    for place, text in places.items():
        assert len(text) > 100, place
        assert MARK not in text, place
        assert [line for line in keys if line in text] == [], place


def test_the_plugin_cannot_read_cloudnativepgs_private_key(shared: Plugins) -> None:
    volumes = shared.get("Deployment", SHARED)["spec"]["template"]["spec"]["volumes"]
    secrets = [volume["secret"] for volume in volumes if "secret" in volume]
    assert sorted(each["secretName"] for each in secrets) == [
        f"{SHARED}-server-tls",
        f"{SHARED}-trust",
    ]


def test_the_trust_secret_contains_no_key(shared: Plugins) -> None:
    data = shared.get("Secret", f"{SHARED}-trust")["data"]
    assert sorted(data) == ["clients.crt", "tls.crt"]
    for value in data.values():
        text = base64.b64decode(value).decode()
        assert text.startswith("-----BEGIN CERTIFICATE-----")
        assert MARK not in text
