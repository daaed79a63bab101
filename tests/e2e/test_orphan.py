"""`deletionPolicy: Orphan`: a plugin outlives its resource, and the next resource adopts it."""

import json

import pytest

from tests.support import wait
from tests.support.e2e.plugins import LABEL, Plugins, collection
from tests.support.resources import NAMESPACE, plugin, plugin_name, postgres

pytestmark = pytest.mark.cnpg("untouched")

NAME, USER = "orphan", "e2e-user-of-an-orphan"
ORPHANED = "cnpgplugin.dev/orphaned"
REMAINS = (
    ("Deployment", NAME),
    ("Service", NAME),
    ("Certificate", f"{NAME}-server-tls"),
    ("Certificate", f"{NAME}-client-tls"),
    ("Secret", f"{NAME}-trust"),
)


def uids(plugins: Plugins) -> list[str]:
    """Which objects are there, their pods included."""
    pods = plugins.api.list(collection("Pod"), labelSelector=f"cnpgplugin.dev/name={NAME}")
    found = [plugins.get(kind, name) for kind, name in REMAINS]
    return sorted(body["metadata"]["uid"] for body in [*found, *pods])


def test_an_orphaned_plugin_keeps_running_and_is_adopted(plugins: Plugins) -> None:
    plugins.apply(plugin(NAME, deletionPolicy="Orphan"))
    plugins.until_ready(NAME)
    plugins.apply(postgres(USER, plugin_name(NAME), imageName="localhost/no-such-postgresql:17"))
    before = uids(plugins)

    # In the foreground, Kubernetes itself deletes what has an owner.
    plugins.kubectl(
        *("delete", "cnpgplugin", NAME, f"--namespace={NAMESPACE}"),
        *("--cascade=foreground", "--timeout=30s"),
    )
    assert uids(plugins) == before
    left = [plugins.get(kind, name)["metadata"] for kind, name in REMAINS]
    assert [metadata.get("ownerReferences") for metadata in left] == [None] * len(REMAINS)
    kinds = {kind for kind, name in REMAINS if is_orphaned(plugins, kind, name)}
    assert kinds == {"Deployment", "Service", "Certificate"}
    assert plugins.get("Service", NAME)["metadata"]["labels"][LABEL] == plugin_name(NAME)
    assert plugins.find("Issuer", "cnpg-plugins") is not None, "renewals need the chain"

    plugins.apply(plugin(NAME))
    plugins.until_ready(NAME)
    assert uids(plugins) == before, "nothing was replaced"
    owner = plugins.plugin(NAME)["metadata"]["uid"]
    wait.until(
        "everything has an owner again",
        lambda: all(is_owned(plugins, kind, name, owner) for kind, name in REMAINS),
        within=15,
        explain=lambda: json.dumps([plugins.get(*each)["metadata"] for each in REMAINS]),
    )
    assert not any(is_orphaned(plugins, kind, name) for kind, name in REMAINS)


def is_orphaned(plugins: Plugins, kind: str, name: str) -> bool:
    return ORPHANED in plugins.get(kind, name)["metadata"].get("labels", {})


def is_owned(plugins: Plugins, kind: str, name: str, owner: str) -> bool:
    references = plugins.get(kind, name)["metadata"].get("ownerReferences") or []
    return owner in [reference["uid"] for reference in references]
