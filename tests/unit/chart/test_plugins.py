"""The plugins of the values, and the test that `helm test` runs with each."""

import itertools
from typing import Any

import pytest

from cnpg_plugin_operator.__main__ import main
from cnpg_plugin_operator.api.plugin import parse_plugin
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.commands import handshake
from tests.support.chart.rendering import (
    FULLNAME,
    Manifest,
    RenderError,
    Values,
    of_kind,
    one,
    render,
    render_text,
)
from tests.support.unit.builders import resource

HELLO: dict[str, Any] = {"pluginName": "hello.example.org", "image": "example.org/hello:1"}
TEST = f"{FULLNAME}-test"


def values_with(*plugins: dict[str, Any], **others: object) -> Values:
    return {"plugins": [{"name": "hello", "spec": HELLO, **each} for each in plugins], **others}


def test_a_plugin_is_created_as_the_values_say() -> None:
    given = {"labels": {"team": "databases"}, "annotations": {"contact": "databases"}}
    found = one(render(values_with(given)), "CNPGPlugin")
    assert (found["metadata"]["namespace"], found["spec"]) == ("cnpg-system", HELLO)
    assert found["metadata"]["labels"]["team"] == "databases"
    assert found["metadata"]["annotations"] == {
        "contact": "databases",
        "helm.sh/resource-policy": "keep",
    }


def test_by_default_there_is_none_and_nothing_to_test() -> None:
    assert not [item for item in render() if "helm.sh/hook" in str(item["metadata"])]
    assert of_kind(render(), "CNPGPlugin") == []


def test_a_plugin_where_the_operator_has_no_rights_is_refused() -> None:
    with pytest.raises(RenderError, match=r"which cnpg\.namespaces does not list"):
        render_text(values_with({"namespace": "elsewhere"}))


@pytest.mark.parametrize("missing", ["name", "spec"])
def test_a_plugin_needs(missing: str) -> None:
    [plugin] = values_with({})["plugins"]
    with pytest.raises(RenderError, match=missing):
        render_text({"plugins": [{key: plugin[key] for key in plugin if key != missing}]})


def with_test() -> list[Manifest]:
    return render(values_with({}, cnpg={"namespaces": ["two"]}))


def test_the_test_runs_the_handshake_of_the_operators_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objects = with_test()
    pod = one(objects, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    [container] = pod["spec"]["containers"]
    operator = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == operator["image"]
    asked: list[tuple[str, str]] = []

    def record(arguments: Any) -> int:
        asked.append((arguments.namespace, arguments.service))
        return 0

    monkeypatch.setattr(handshake, "main", record)
    assert main(container["args"]) == 0
    assert asked == [("two", "hello")]


def test_the_test_may_read_one_service_and_its_two_secrets_only() -> None:
    objects = with_test()
    role = one(objects, "Role", f"{TEST}-hello")
    assert role["metadata"]["namespace"] == "two"
    assert [rule["verbs"] for rule in role["rules"]] == [["get"], ["get"]]
    assert {rule["resources"][0]: rule["resourceNames"] for rule in role["rules"]} == {
        "services": ["hello"],
        "secrets": ["hello-trust", "hello-client-tls"],
    }
    [subject] = one(objects, "RoleBinding", f"{TEST}-hello")["subjects"]
    assert subject["name"] == TEST == one(objects, "Pod")["spec"]["serviceAccountName"]
    for item in (role, one(objects, "ServiceAccount", TEST)):
        assert item["metadata"]["annotations"]["helm.sh/hook-weight"] == "-1"


def test_a_sidecar_has_no_service_to_test() -> None:
    values = values_with({"spec": {**HELLO, "mode": "Sidecar"}})
    assert of_kind(render(values), "Pod") == []


ISSUERS: tuple[dict[str, Any], ...] = (
    {},
    {"issuerScope": "Plugin"},
    {"provider": "SelfManaged"},
    {"provider": "CertManager"},
    {"issuerRef": {"name": "company"}},
    {"issuerRef": {"name": "company", "kind": "ClusterIssuer", "group": "example.org"}},
    {"provider": "Secrets", "secrets": {"server": "mine", "client": "theirs"}},
)


@pytest.mark.parametrize(
    ("default", "tls"), list(itertools.product(("CertManager", "SelfManaged"), ISSUERS)), ids=str
)
def test_the_operator_gives_the_clients_secret_the_same_name(
    default: str, tls: dict[str, Any]
) -> None:
    spec = {**HELLO, "tls": tls} if tls else HELLO
    objects = render(values_with({"spec": spec}, defaults={"tlsProvider": default}))
    named = one(objects, "Role", f"{TEST}-hello")["rules"][1]["resourceNames"]
    wanted = parse_plugin(resource("hello", **spec), Provider(default)).client_secret
    assert named == ["hello-trust", wanted]
