"""The API server's answers become this program's own exceptions."""

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client as library
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import incluster_config

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.answers import well_formed
from cnpg_plugin_operator.cluster.client import Client

CAUSES = {"details": {"causes": [{"field": "spec.template.spec.containers[0].image"}]}}
POLICY = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
WEBHOOK = 'admission webhook "w.example.com" denied the request: no'
SCHEMA = "failed to create typed patch object (ns/n; apps/v1, Kind=Deployment): .spec.noSuchField"
ANSWERS = [
    (400, "injected", {}, errors.ForbiddenError),
    (400, 'strict decoding error: unknown field "spec.x"', {}, errors.RejectedError),
    (400, "Deployment in version v1 cannot be handled as a Deployment", {}, errors.RejectedError),
    (401, "Unauthorized", {}, errors.UnauthorizedError),
    (403, "cannot patch resource", {}, errors.ForbiddenError),
    (403, WEBHOOK, {}, errors.ForbiddenError),
    (404, "not found", {}, errors.NotFoundError),
    (409, "conflict", {}, errors.ConflictError),
    (409, "Apply failed with 1 conflict", CAUSES, errors.ConflictError),
    (422, "is invalid: image: Required value", CAUSES, errors.RejectedError),
    (422, POLICY, CAUSES, errors.ForbiddenError),
    (422, "injected", {}, errors.ForbiddenError),
    (500, SCHEMA, {}, errors.RejectedError),
    (500, "failed calling webhook", {}, errors.BusyError),
    (503, "overloaded", {"details": []}, errors.BusyError),
]


class Answer:
    """An answer of the API server."""

    status = 200

    def __init__(self, **metadata: str) -> None:
        self.metadata = {"name": "hello", "uid": "one", **metadata}

    async def json(self) -> dict[str, Any]:
        return {"metadata": self.metadata}


class Dynamic:
    """Answers with errors first."""

    def __init__(self, *answers: ApiException) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.answer = Answer()

    async def request(self, *_: object, **__: object) -> Answer:
        self.asked += 1
        if self.answers:
            raise self.answers.pop(0)
        return self.answer


def refusal(status: int, message: str = "", more: dict[str, Any] | None = None) -> ApiException:
    error = ApiException(status=status, reason="reason")
    error.body = json.dumps({"message": message, **(more or {})})
    return error


async def connected(
    *answers: ApiException, in_cluster: bool = False, reads_only: bool = False
) -> tuple[Client, Dynamic]:
    api = library.ApiClient(library.Configuration())
    client = Client(api, in_cluster=in_cluster, reads_only=reads_only)
    await client.close()
    dynamic = Dynamic(*answers)
    client._call = dynamic.request  # type: ignore[assignment, method-assign]
    return client, dynamic


@pytest.mark.parametrize(("status", "message", "more", "expected"), ANSWERS)
async def test_an_answer_becomes_one_of_our_errors(
    status: int, message: str, more: dict[str, Any], expected: type[errors.ClusterError]
) -> None:
    client, _ = await connected(refusal(status, message, more))
    with pytest.raises(errors.ClusterError) as raised:
        await client.get(kinds.DEPLOYMENT, "hello", "ns")

    assert type(raised.value) is expected
    assert message in str(raised.value)


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The files of a pod's account; returns that of the token."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("old")
    authority.write_text("ca")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return token


def rotate(token: Path) -> None:
    """Replace the token, as the kubelet does."""
    token.write_text("new")


async def test_a_refused_token_is_read_again_at_once(pod: Path) -> None:
    client, dynamic = await connected(refusal(401), in_cluster=True)
    rotate(pod)
    await client.get(kinds.DEPLOYMENT, "hello", "ns")

    assert dynamic.asked == 2
    assert client._api.configuration.api_key["BearerToken"] == "bearer new"


async def test_a_token_refused_twice_is_tried_again_later(pod: Path) -> None:
    client, dynamic = await connected(refusal(401), refusal(401), in_cluster=True)
    with pytest.raises(errors.UnauthorizedError):
        await client.get(kinds.DEPLOYMENT, "hello", "ns")

    assert dynamic.asked == 2


async def test_an_object_that_is_said_to_be_missing_and_is_still_there_is_not_deleted() -> None:
    client, dynamic = await connected(refusal(404, "issuers not found"))
    with pytest.raises(errors.UnavailableError, match=r"issuers not found, but it is still there"):
        await client.delete(kinds.ISSUER, "hello", "ns", uid="one")
    dynamic.answers = [refusal(404)]
    with pytest.raises(errors.UnavailableError):
        await client.delete(kinds.ISSUER, "hello", "ns")


@pytest.mark.parametrize(
    "after",
    [refusal(404), Answer(uid="another"), Answer(deletionTimestamp="2026-01-01T00:00:00Z")],
    ids=["gone", "another of the same name", "is being deleted"],
)
async def test_an_object_that_is_missing_counts_as_deleted(after: ApiException | Answer) -> None:
    client, dynamic = await connected(refusal(404))
    if isinstance(after, Answer):
        dynamic.answer = after
    else:
        dynamic.answers.append(after)
    await client.delete(kinds.ISSUER, "hello", "ns", uid="one")

    assert dynamic.asked == 2


async def test_every_request_is_measured() -> None:
    client, _ = await connected(refusal(404))
    client._api.configuration.host = "https://api.example.org:6443"
    measured: list[tuple[object, ...]] = []
    client.measure = lambda *words: measured.append(words[:3])
    await client.find(kinds.DEPLOYMENT, "hello", "ns")
    await client.get(kinds.DEPLOYMENT, "hello", "ns")
    await client.merge_patch(kinds.DEPLOYMENT, "hello", "ns", {})
    host = "api.example.org:6443"
    assert measured == [("404", "get", host), ("200", "get", host), ("200", "patch", host)]


async def test_a_client_that_only_reads_sends_no_write() -> None:
    client, dynamic = await connected(reads_only=True)
    with pytest.raises(errors.ForbiddenError, match="only reads"):
        await client.delete(kinds.SECRET, "name", "somewhere")
    with pytest.raises(errors.ForbiddenError, match="only reads"):
        await client.create(kinds.SECRET, {"metadata": {"name": "name", "namespace": "somewhere"}})
    assert dynamic.asked == 0


def test_malformed_fields_of_an_object_are_dropped() -> None:
    metadata = {
        "name": "hello",
        "labels": {"a": "b", "c": 7},
        "annotations": [],
        "ownerReferences": ["x", {"uid": "u"}],
        "finalizers": "none",
    }

    assert well_formed({"metadata": metadata, "spec": [1], "status": "x"}) == {
        "metadata": {
            "name": "hello",
            "labels": {"a": "b"},
            "annotations": {},
            "ownerReferences": [{"uid": "u"}],
            "finalizers": [],
        },
        "spec": {},
        "status": {},
    }
