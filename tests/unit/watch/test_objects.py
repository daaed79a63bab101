"""What is kept of watched objects, for whom it is known, and which of their changes count."""

import base64
import json
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster.kinds import (
    CERTIFICATE,
    DEPLOYMENT,
    ISSUER,
    LEASE,
    POD,
    SECRET,
    SERVICE,
    Kind,
)
from cnpg_plugin_operator.pki.reading import read_pair
from cnpg_plugin_operator.watch.facts import FactStore
from cnpg_plugin_operator.watch.objects import OWN_LABEL, ObjectStore
from tests.support.tls.certificates import self_signed

HERE = "cnpg-system"
PLUGIN = self_signed()
OWN = {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.PLUGIN: "hello"}


class Watched:
    """A store, and the names of what it told of."""

    def __init__(self, *listed: Kind) -> None:
        self.store, self.told = ObjectStore(FactStore()), list[str]()
        self.store.notify = lambda _, change: self.told.append(change.key[1])
        for kind in listed:
            self.store.table(kind, HERE).error = None


def body(name: str = "hello", version: int = 1, **fields: Any) -> dict[str, Any]:
    metadata = {"namespace": HERE, "name": name, "resourceVersion": str(version), "labels": OWN}
    return {"metadata": {**metadata, **fields.pop("metadata", {})}, **fields}


def test_an_object_is_known_once_its_kind_was_listed() -> None:
    watched = Watched()
    watched.store.take(SERVICE, body())
    assert watched.store.find(SERVICE, HERE, "hello") is None
    assert watched.store.select(SERVICE, HERE, None) is None

    watched.store.table(SERVICE, HERE).error = None
    assert watched.store.find(SERVICE, HERE, "hello") == body()
    assert watched.store.select(SERVICE, HERE, None) == [body()]
    watched.store.distrust()
    assert watched.store.find(SERVICE, HERE, "hello") is None


def test_only_a_watch_that_shows_all_objects_can_lack_one() -> None:
    watched = Watched(SERVICE, SECRET, POD)
    assert watched.store.lacks(SERVICE, HERE, "hello")
    assert watched.store.lacks(SECRET, HERE, "hello")
    assert not watched.store.lacks(POD, HERE, "hello"), "it may be without the label"
    assert not watched.store.lacks(LEASE, HERE, "hello")
    watched.store.distrust()
    assert not watched.store.lacks(SERVICE, HERE, "hello")


def test_what_it_gives_may_be_changed() -> None:
    watched = Watched(SERVICE)
    watched.store.take(SERVICE, body())
    found = watched.store.find(SERVICE, HERE, "hello")
    assert found is not None
    found["metadata"]["labels"].clear()
    assert watched.store.find(SERVICE, HERE, "hello") == body()


def test_an_older_version_is_not_taken_even_after_a_deletion() -> None:
    watched = Watched(SERVICE)
    watched.store.see(SERVICE, body(version=5))
    watched.store.see(SERVICE, body(version=4, spec={"old": True}))
    assert watched.store.find(SERVICE, HERE, "hello") == body(version=5)
    watched.store.see(SERVICE, body(version=7), deleted=True)
    watched.store.see(SERVICE, body(version=6))
    assert watched.store.find(SERVICE, HERE, "hello") is None
    assert watched.told == ["hello", "hello"]


def test_what_others_wrote_just_before_an_own_write_is_told() -> None:
    watched = Watched(SERVICE)
    watched.store.see(SERVICE, body(version=1))
    watched.store.take(SERVICE, body(version=3, spec={"by": "both"}))
    watched.store.take(SERVICE, body(version=4, spec={"by": "both"}))
    assert watched.told == ["hello", "hello"]
    watched.store.see(SERVICE, body(version=2, spec={"by": "others"}))
    assert watched.told == ["hello"] * 3
    watched.store.see(SERVICE, body(version=3, spec={"by": "both"}))
    watched.store.see(SERVICE, body(version=4, spec={"by": "both"}))
    assert watched.told == ["hello"] * 3
    assert watched.store.find(SERVICE, HERE, "hello") == body(version=4, spec={"by": "both"})


def test_what_is_being_deleted_is_not_known_until_its_watch_tells() -> None:
    watched = Watched(SERVICE)
    watched.store.take(SERVICE, body())
    assert not watched.store.lacks(SERVICE, HERE, "hello")
    watched.store.forget(SERVICE, HERE, "hello")
    assert watched.store.find(SERVICE, HERE, "hello") is None
    assert not watched.store.lacks(SERVICE, HERE, "hello")
    watched.store.take(SERVICE, body(version=2))
    assert watched.store.find(SERVICE, HERE, "hello") == body(version=2)


SELECTORS: list[tuple[Kind, str | None, list[str] | None]] = [
    (SERVICE, None, ["foreign", "hello"]),
    (SERVICE, OWN_LABEL, ["hello"]),
    (SERVICE, f"{OWN_LABEL},{names.labels.PLUGIN}=other", []),
    (SERVICE, f"{OWN_LABEL},{names.labels.PLUGIN}", ["hello"]),
    (POD, OWN_LABEL, ["hello"]),
    (POD, f"{names.labels.PLUGIN}=hello", None),
    (ISSUER, None, None),
    (SECRET, OWN_LABEL, None),
    (LEASE, None, None),
]


@pytest.mark.parametrize(("kind", "labels", "found"), SELECTORS)
def test_a_list_is_answered_only_if_the_watch_selects_all_of_it(
    kind: Kind, labels: str | None, found: list[str] | None
) -> None:
    watched = Watched(SERVICE, POD, ISSUER, SECRET)
    watched.store.take(kind, body(metadata={"uid": "u"}))
    if kind == SERVICE:
        watched.store.take(kind, body("foreign", metadata={"labels": None}))
    bodies = watched.store.select(kind, HERE, labels)
    names_found = None if bodies is None else [each["metadata"]["name"] for each in bodies]
    assert names_found == found


def test_other_namespaces_are_not_known() -> None:
    watched = Watched(SERVICE)
    watched.store.take(SERVICE, body())
    assert watched.store.find(SERVICE, "elsewhere", "hello") is None
    assert watched.store.select(SERVICE, None, None) is None


def encode(text: bytes) -> str:
    return base64.b64encode(text).decode()


def test_no_private_key_is_kept_wherever_it_is() -> None:
    watched = Watched(SECRET)
    certificate, key = encode(PLUGIN.chain), encode(PLUGIN.key)
    data = {"tls.crt": certificate, "tls.key": key, "ca.crt": key, "password": encode(b"secret")}
    watched.store.take(SECRET, body(data=data))
    assert watched.store.find(SECRET, HERE, "hello") is None
    found = watched.store.find_secret(HERE, "hello")
    assert found is not None
    secret, pair = found
    assert secret["data"] == {"tls.crt": certificate}
    assert pair == read_pair("hello", {"tls.crt": PLUGIN.chain, "tls.key": PLUGIN.key})
    assert pair.key_matches
    watched.store.take(SECRET, body(version=2, data=data))
    assert watched.told == ["hello"]
    watched.store.take(SECRET, body(version=3, data={**data, "tls.key": encode(b"other")}))
    assert watched.told == ["hello", "hello"]


def test_managed_fields_are_kept_without_their_details() -> None:
    watched = Watched(DEPLOYMENT)
    entry: dict[str, Any] = {"manager": "helm", "time": "2026-03-01T12:00:00Z"}
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    watched.store.take(
        DEPLOYMENT, body(metadata={"managedFields": [{**entry, "fieldsV1": fields}]})
    )
    found = watched.store.find(DEPLOYMENT, HERE, "hello")
    assert found is not None
    assert found["metadata"]["managedFields"] == [{**entry, "fieldsV1": {"f:spec": {}}}]


def pod(**status: Any) -> dict[str, Any]:
    return body(metadata={"uid": "u"}, status=status)


def condition(kind: str, status: str = "True", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, **more}


READY = condition("Ready", lastTransitionTime="2026-03-01T12:00:00Z")
CHANGES: list[tuple[str, Kind, dict[str, Any], dict[str, Any], bool]] = [
    ("nothing", SERVICE, body(), body(), False),
    ("who manages it", SERVICE, body(), body(metadata={"managedFields": [{}]}), False),
    ("a label", SERVICE, body(), body(metadata={"labels": {}}), True),
    ("a finalizer", SERVICE, body(), body(metadata={"finalizers": ["x"]}), True),
    ("a Deployment's replicas", DEPLOYMENT, body(status={"replicas": 0}),
     body(status={"replicas": 1}), True),
    ("the time of a Deployment's condition", DEPLOYMENT,
     body(status={"conditions": [condition("Progressing", lastUpdateTime="1")]}),
     body(status={"conditions": [condition("Progressing", lastUpdateTime="2")]}), False),
    ("a Deployment's condition", DEPLOYMENT,
     body(status={"conditions": [condition("Available", "False")]}),
     body(status={"conditions": [condition("Available")]}), True),
    ("the revision of a Deployment", DEPLOYMENT, body(),
     body(metadata={"annotations": {"deployment.kubernetes.io/revision": "1"}}), False),
    ("a pod's node", POD, pod(), pod(hostIP="10.0.0.1"), False),
    ("a pod's readiness", POD, pod(), pod(conditions=[READY]), True),
    ("a step of an issuance", CERTIFICATE, body(status={}),
     body(status={"conditions": [condition("Issuing")], "nextPrivateKeySecretName": "x"}), False),
    ("the end of an issuance", CERTIFICATE, body(status={}),
     body(status={"conditions": [condition("Ready")]}), True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "before", "after", "counts"),
    [each[1:] for each in CHANGES],
    ids=[each[0] for each in CHANGES],
)
def test_a_change_counts(
    kind: Kind, before: dict[str, Any], after: dict[str, Any], *, counts: bool
) -> None:
    watched = Watched(kind)
    watched.store.take(kind, before)
    after = json.loads(json.dumps(after))
    after["metadata"]["resourceVersion"] = "2"
    watched.store.take(kind, after)
    assert watched.told == ["hello"] * (1 + counts)
    found = watched.store.find(kind, HERE, "hello")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "2", "what does not count is kept all the same"
