"""Whatever the cluster contains, every pass ends with a status and none with an exception."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import SUMMED_UP, Reason, Type
from cnpg_plugin_operator.api.untrusted import TEXT_LIMIT
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.desired.sidecars import read_sidecars
from tests.support.thorough import examples
from tests.support.unit.fake_cluster import FakeCluster
from tests.support.unit.stage.hosting import CNPG, HostingStage
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE
from tests.unit.reconcile.anything import JSON, TEXTS, as_deep_as_the_operator, as_text, replace

Key = tuple[str, str | None, str]
PASSES = 3
STATUS_LIMIT = 128 * 1024


def settled(stage: Stage) -> Stage:
    stage.create()
    stage.create("sibling")
    stage.client.put(
        kinds.CLUSTER,
        {
            "metadata": {"name": "db", "namespace": "app"},
            "spec": {"plugins": [{"name": "hello.example.org"}]},
            "status": {"phase": "Cluster in healthy state"},
        },
    )

    async def settle() -> None:
        await stage.pass_by(120, "hello", "sibling")

    asyncio.run(settle())
    assert stage.condition() == ("True", "Ready"), stage.message()
    return stage


READY: dict[str, tuple[Stage, list[tuple[Key, str]]]] = {}
"""A stage of each mode whose plugin is Ready, and its objects."""


def restored(mode: str) -> Stage:
    """The stage at the time when its plugin became Ready, with a new operator."""
    if mode not in READY:
        stage = settled(Stage() if mode == "Standalone" else HostingStage())
        READY[mode] = stage, [(k, json.dumps(b)) for k, b in stage.client.objects.items()]
    stage, objects = READY[mode]
    stage.client.objects = {key: json.loads(body) for key, body in objects}
    stage.client.events.clear()
    stage.handshaker.outcome = None
    stage.reconciler = stage.operator()
    return stage


BESIDE = (Type.RECONCILING, Type.STALLED, Type.SUSPENDED)
"""Conditions of which a status has one at most."""


async def passes(stage: Stage) -> None:
    with as_deep_as_the_operator():
        for _ in range(PASSES):
            for key in ((NAMESPACE,), (NAMESPACE, "hello")):
                await stage.reconciler.reconcile(key)
            stage.clock.pass_by(11)


def check(stage: Stage) -> None:
    """The resource is gone, or its status is bounded and printable."""
    texts = [event["message"] for event in stage.client.events]
    body = stage.client.objects.get(("CNPGPlugin", NAMESPACE, "hello"))
    if body is not None:
        status = body["status"]
        conditions = status["conditions"]
        types = [c["type"] for c in conditions]
        assert types[: len(SUMMED_UP) + 1] == [*SUMMED_UP, Type.READY]
        assert types[len(SUMMED_UP) + 1 :] in ([], *([each] for each in BESIDE))
        assert {c["reason"] for c in conditions} <= set(Reason)
        # Fields that no pass needed to write stay as others wrote them.
        written = stage.client.applied_status(body)
        assert len(json.dumps(written, ensure_ascii=False).encode()) < STATUS_LIMIT
        texts += all_texts(written)
    for text in texts:
        assert text.isprintable(), text
        assert len(text.encode()) <= TEXT_LIMIT, text


def all_texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *all_texts(each))]
    if isinstance(value, list):
        return [text for each in value for text in all_texts(each)]
    return [value] if isinstance(value, str) else []


def plugin_of(stage: Stage, name: str = "hello") -> dict[str, Any]:
    return stage.client.the(kinds.PLUGIN, name)


SPECS: tuple[tuple[str, ...], ...] = (
    ("spec",),
    *(
        ("spec", field)
        for field in (
            *("pluginName", "mode", "image", "args", "env", "envFrom", "port", "volumes"),
            *("volumeMounts", "podTemplate", "podLabels", "podAnnotations", "resources", "tls"),
            *("service", "serviceAccount", "clusterRoles", "cnpg", "handshake", "suspend"),
            *("deletionPolicy", "affinity", "tolerations", "probes", "securityContext"),
        )
    ),
    ("spec", "podTemplate", "spec"),
    ("spec", "podTemplate", "spec", "containers"),
    ("spec", "podTemplate", "metadata"),
)
STATUSES: tuple[tuple[str | int, ...], ...] = (
    ("status",),
    *(("status", key) for key in ("conditions", "plugin", "certificates", "cnpg", "clusters")),
    ("status", "sidecar"),
    ("status", "sidecar", "quarantine"),
    ("status", "sidecar", "reverts"),
    ("status", "observedGeneration"),
    ("status", "cnpg", "lastRestart"),
    ("status", "cnpg", "lastRestart", "revisions"),
    ("status", "cnpg", "lastRestart", "time"),
    ("status", "cnpg", "registeredRevision"),
    ("status", "conditions", 0),
    ("status", "conditions", 0, "message"),
    ("status", "conditions", 5, "lastTransitionTime"),
)
MODES = st.sampled_from(["Standalone", "Sidecar"])
QUICK = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@settings(QUICK, max_examples=examples(500))
@given(MODES, st.sampled_from(SPECS), JSON, st.sampled_from(["change", "delete"]))
def test_any_spec_ends_in_a_status(mode: str, path: tuple[str, ...], value: Any, what: str) -> None:
    stage = restored(mode)
    replace(plugin_of(stage), path, value)
    plugin_of(stage)["metadata"]["generation"] += 1
    if what == "delete":
        stage.delete()
    asyncio.run(passes(stage))
    check(stage)


@settings(QUICK, max_examples=examples(400))
@given(MODES, st.sampled_from(STATUSES), JSON, st.sampled_from(["change", "delete"]))
def test_any_previous_status_is_replaced(
    mode: str, path: tuple[str | int, ...], value: Any, what: str
) -> None:
    stage = restored(mode)
    replace(plugin_of(stage), path, value)
    if what == "delete":
        stage.delete()
    asyncio.run(passes(stage))
    check(stage)


@settings(QUICK, max_examples=examples(200))
@given(MODES, st.sampled_from([*SPECS, *STATUSES]), JSON)
def test_any_content_of_another_resource_leaves_this_one_ready(
    mode: str, path: tuple[str | int, ...], value: Any
) -> None:
    stage = restored(mode)
    replace(plugin_of(stage, "sibling"), path, value)
    asyncio.run(passes(stage))
    check(stage)
    assert all(
        c["reason"] != Reason.INTERNAL_ERROR for c in plugin_of(stage)["status"]["conditions"]
    )


ANNOTATIONS = [
    *(names.annotations.REVISION, names.annotations.ENDPOINT, names.annotations.ANNOUNCED_AT),
    *(names.annotations.RENEW, names.annotations.APPROVE, names.annotations.DESIRED),
    *(names.annotations.RESTARTED_AT, names.annotations.RESTARTED_FOR, names.annotations.WITHDRAWN),
    *(names.annotations.SIDECARS, names.annotations.RELOADED, names.cnpg.CLIENT_SECRET),
    *(names.cnpg.SERVER_NAME, names.annotations.TRUST_CHANGED, names.annotations.CHANGED_AT),
    *(names.labels.PLUGIN, names.labels.MANAGED_BY, names.cnpg.PLUGIN_NAME, names.labels.CHAIN),
]


@settings(QUICK, max_examples=examples(300))
@example("Sidecar", 0, "template", names.annotations.SIDECARS, {"1" * 4000: "a revision"})
@given(
    MODES,
    st.integers(0, 10_000),
    st.sampled_from(["labels", "annotations", "template"]),
    st.sampled_from(ANNOTATIONS),
    JSON,
)
def test_any_labels_and_annotations_end_in_a_status(
    mode: str, which: int, field: str, key: str, value: Any
) -> None:
    stage = restored(mode)
    bodies = list(stage.client.objects.values())
    body = bodies[which % len(bodies)]
    path = ("metadata", field, key)
    if field == "template":
        body = stage.client.the(kinds.DEPLOYMENT, "cnpg" if mode == "Standalone" else CNPG)
        path = ("spec", "template", "metadata", "annotations", key)  # type: ignore[assignment]
    replace(body, path, as_text(value))
    asyncio.run(passes(stage))
    check(stage)


CONTENTS: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("Secret", ("data",)),
    ("Secret", ("data", "tls.crt")),
    ("Secret", ("data", "tls.key")),
    ("Secret", ("data", "ca.crt")),
    ("Certificate", ("status",)),
    ("Certificate", ("status", "conditions")),
    ("Certificate", ("status", "renewalTime")),
    ("Deployment", ("spec", "template")),
    ("Deployment", ("spec", "template", "spec", "containers")),
    ("Deployment", ("status",)),
    ("Deployment", ("status", "conditions")),
    ("Pod", ("status",)),
    ("Pod", ("status", "containerStatuses")),
    ("Pod", ("status", "initContainerStatuses")),
    ("Pod", ("status", "conditions")),
    ("Service", ("spec",)),
    ("Lease", ("spec",)),
    ("Event", ("message",)),
    ("Event", ("reason",)),
    ("Event", ("lastTimestamp",)),
    ("Event", ("series",)),
    ("Cluster", ("spec",)),
    ("Cluster", ("spec", "plugins")),
    ("Cluster", ("spec", "externalClusters")),
    ("Cluster", ("status",)),
    ("Cluster", ("status", "phase")),
    ("Cluster", ("status", "pluginStatus")),
)


@settings(QUICK, max_examples=examples(350))
@given(MODES, st.sampled_from(CONTENTS), st.integers(0, 10_000), JSON)
def test_any_content_of_other_objects_ends_in_a_status(
    mode: str, place: tuple[str, tuple[str | int, ...]], which: int, value: Any
) -> None:
    stage = restored(mode)
    kind, path = place
    bodies = [b for (k, *_), b in stage.client.objects.items() if k == kind]
    if not bodies:
        bodies = [plugin_of(stage)]
    replace(bodies[which % len(bodies)], path, value)
    asyncio.run(passes(stage))
    check(stage)


@settings(QUICK, max_examples=examples(150))
@given(
    st.sampled_from(list(Reason)),
    TEXTS,
    st.none()
    | st.builds(
        Identity,
        name=TEXTS,
        version=TEXTS,
        display_name=TEXTS,
        vendor=TEXTS,
        license=TEXTS,
        maturity=TEXTS,
        url=TEXTS,
        capabilities=st.lists(TEXTS, max_size=80).map(tuple),
    ),
)
def test_any_answer_of_a_plugin_ends_in_a_status(
    reason: Reason, message: str, identity: Identity | None
) -> None:
    stage = restored("Standalone")
    stage.handshaker.outcome = HandshakeOutcome(reason, message, identity)
    asyncio.run(passes(stage))
    check(stage)


REFUSALS = (
    errors.RejectedError,
    errors.ForbiddenError,
    errors.UnavailableError,
    errors.UnauthorizedError,
    errors.ConflictError,
    errors.NotFoundError,
    errors.KindMissingError,
    ValueError,
    RecursionError,
)


class Refusing:
    """Refuses one kind of request from now on, with the API server's message."""

    def __init__(self, client: FakeCluster, verb: str, kind: str, error: Exception) -> None:
        self._client, self._verb = client, verb
        self._original = getattr(client, verb)
        self._kind, self._error = kind, error

    async def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        if args[0].kind == self._kind and kwargs.get("subresource") != "status":
            raise self._error
        return await self._original(*args, **kwargs)

    def __enter__(self) -> None:
        setattr(self._client, self._verb, self._refuse)

    def __exit__(self, *_: object) -> None:
        delattr(self._client, self._verb)


@settings(QUICK, max_examples=examples(250))
@given(
    MODES,
    st.sampled_from(["get", "list", "apply", "create", "merge_patch", "delete"]),
    st.sampled_from(["Deployment", "Service", "Secret", "Certificate", "Pod", "Cluster", "Event"]),
    st.sampled_from(REFUSALS),
    TEXTS,
    st.sampled_from(["change", "delete", "create"]),
)
def test_any_refusal_ends_in_a_status(
    mode: str,
    verb: str,
    kind: str,
    error: Callable[[str], Exception],
    words: str,
    what: str,
) -> None:
    stage = restored(mode)
    if what == "change":
        stage.edit(image="example.org/hello:2")
    elif what == "delete":
        stage.delete()
    else:
        del plugin_of(stage)["status"]
    with Refusing(stage.client, verb, kind, error(words)):
        asyncio.run(passes(stage))
    check(stage)


def test_the_stages_contain_what_the_tests_change() -> None:
    assert read_sidecars(restored("Sidecar").client.the(kinds.DEPLOYMENT, CNPG)["spec"]["template"])
    assert restored("Standalone").service()["labels"][names.cnpg.PLUGIN_NAME]
