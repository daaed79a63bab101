"""The operator's process: what it serves, and what its command line reports about a plugin."""

import json
import subprocess
from typing import Any

import pytest

from tests.e2e.names import SHARED
from tests.support.e2e.installation import image_key, provide_image
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.resources import IMAGE_VERSION, NAMESPACE, plugin_name, service

pytestmark = pytest.mark.cnpg("untouched")


def handshake(operator: Operator, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user types it."""
    argv = operator.cluster.kubectl_argv(
        *("exec", f"deployment/{operator.deployment}", "--namespace", operator.namespace, "--"),
        *("cnpg-plugin-operator", "handshake", *arguments),
    )
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_the_image_has_at_most_200_megabytes_unpacked() -> None:
    assert provide_image(image_key()).stat().st_size <= 200_000_000


def test_the_handshake_command_prints_the_verdict_as_json(
    operator: Operator, shared: Plugins
) -> None:
    done = handshake(operator, SHARED, "-n", NAMESPACE, "-o", "json")
    assert done.returncode == 0, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    assert verdict["succeeded"] is True
    assert verdict["reason"] == "Identified"
    assert verdict["endpoint"]["host"] == f"{SHARED}.{NAMESPACE}.svc"
    assert verdict["plugin"]["name"] == plugin_name(SHARED)
    assert verdict["plugin"]["version"] == IMAGE_VERSION


def test_the_handshake_command_prints_the_verdict_for_users(
    operator: Operator, shared: Plugins
) -> None:
    done = handshake(operator, SHARED, "-n", NAMESPACE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok ")
    assert plugin_name(SHARED) in done.stdout


def test_a_failed_handshake_exits_with_1_and_prints_its_reason(
    operator: Operator, shared: Plugins
) -> None:
    flags = ("-n", NAMESPACE, "--plugin-name", "nobody.example.com", "-o", "json")
    done = handshake(operator, SHARED, *flags)
    assert done.returncode == 1
    assert json.loads(done.stdout)["reason"] == "IdentityMismatch"

    done = handshake(operator, SHARED, "-n", NAMESPACE, "--address", f"{SHARED}:1")
    assert done.returncode == 1
    assert "Unreachable" in done.stdout


@pytest.mark.parametrize("name", ["no-such-service", "e2e-plain-service"])
def test_a_handshake_without_a_plugin_names_what_is_missing(
    operator: Operator, plugins: Plugins, name: str
) -> None:
    plugins.apply(service("e2e-plain-service"))
    done = handshake(operator, name, "-n", NAMESPACE)
    assert done.returncode == 1
    assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_operator_reports_that_it_is_healthy(operator: Operator, path: str) -> None:
    assert operator.http(path) == (200, "ok\n")


def test_the_metrics_cover_every_plugin(operator: Operator, shared: Plugins) -> None:
    status, text = operator.http("/metrics")
    assert status == 200
    where = f'name="{SHARED}",namespace="{NAMESPACE}"'
    reordered = f'namespace="{NAMESPACE}",name="{SHARED}"'
    lines = [line.replace(where, reordered) for line in text.splitlines()]
    assert f"cnpg_plugin_ready{{{reordered}}} 1.0" in lines
    for metric in ("reconcile", "handshake"):
        assert any(metric in line and not line.startswith("#") for line in lines)


def test_every_log_line_is_json(operator: Operator, shared: Plugins) -> None:
    lines = [json.loads(line) for line in operator.log().splitlines()]
    assert all({"ts", "level", "msg"} <= line.keys() for line in lines)
    # Other modules cause errors, such as that of a resource type that is not served.
    created = shared.plugin(SHARED)["metadata"]["creationTimestamp"]
    late = [line for line in lines if line["ts"] >= created.removesuffix("Z")]
    assert late
    assert [line for line in late if line["level"] == "error"] == []
