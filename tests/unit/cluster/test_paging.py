"""Long lists and watches: what the client asks the API server for, and what it makes of it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio import client as library

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster import client as subject
from cnpg_plugin_operator.cluster import kinds


class Response:
    """A list's answer, or the open one of a watch."""

    status = 200

    def __init__(self, *lines: dict[str, Any] | Exception | str) -> None:
        self.status = 200
        self.lines = lines
        self.content = self._read()
        self.closed = False

    async def json(self) -> Any:
        return self.lines[0]

    def close(self) -> None:
        self.closed = True

    async def _read(self) -> AsyncIterator[bytes]:
        for line in self.lines:
            if isinstance(line, Exception):
                raise line
            yield line.encode() if isinstance(line, str) else json.dumps(line).encode()


class Dynamic:
    """Gives answers in turn, and keeps what was asked for."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []

    async def request(self, _: str, path: str, **given: Any) -> Response:
        self.paths.append(path)
        self.asked.append({key: value for key, value in given["query"].items() if value})
        return self.answers.pop(0)


async def connected(*answers: Response) -> tuple[subject.Client, Dynamic]:
    client = subject.Client(library.ApiClient(library.Configuration()))
    await client.close()
    dynamic = Dynamic(*answers)
    client._call = dynamic.request  # type: ignore[assignment, method-assign]
    return client, dynamic


def page(token: str, *names: str) -> Response:
    items = [{"metadata": {"name": name, "namespace": "app"}, "spec": 7} for name in names]
    return Response({"metadata": {"resourceVersion": "8", "continue": token}, "items": items})


async def test_a_long_list_is_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PAGE", 2)
    client, dynamic = await connected(page("more", "a", "b"), page("", "c"))

    pages = [found async for found in client.pages(kinds.CLUSTER)]

    assert [[body["metadata"]["name"] for body in each.bodies] for each in pages] == [
        ["a", "b"],
        ["c"],
    ]
    assert {each.version for each in pages} == {"8"}
    assert pages[0].bodies[0]["spec"] == {}, "whatever it holds can be read"
    assert dynamic.asked == [{"limit": "2"}, {"limit": "2", "continue": "more"}]


EVENT = {"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "9"}}}


async def test_a_watch_gives_what_came_after_a_version() -> None:
    response = Response(EVENT, EVENT)
    client, dynamic = await connected(response)

    async with client.follow(kinds.CLUSTER, "8", 600) as events:
        assert [event async for event in events] == [EVENT, EVENT]

    assert response.closed
    assert dynamic.paths == [kinds.CLUSTER.path()]
    assert dynamic.asked[0] == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "8",
        "timeoutSeconds": "600",
    }


async def test_a_selection_of_one_namespace_can_be_watched_from_now_on() -> None:
    client, dynamic = await connected(page("more", "a"), Response(EVENT))

    version = await client.newest(kinds.LEASE, "app")
    async with client.follow(kinds.LEASE, version, 60, namespace="app", fields="a=b") as events:
        assert [event async for event in events] == [EVENT]

    assert dynamic.paths == [kinds.LEASE.path("app")] * 2
    assert dynamic.asked[0] == {"limit": "1"}
    assert dynamic.asked[1]["resourceVersion"] == "8"
    assert dynamic.asked[1]["fieldSelector"] == "a=b"


def error(code: int) -> dict[str, Any]:
    return {"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "too old"}}


@pytest.mark.parametrize(
    ("end", "raised"),
    [
        (error(410), errors.ExpiredError),
        (error(500), errors.UnavailableError),
        (TimeoutError(), errors.UnavailableError),
        (ConnectionResetError("reset"), errors.UnavailableError),
        ('{"type": "MODI', errors.UnavailableError),
    ],
    ids=["an old version", "another error", "silence", "a broken connection", "half a line"],
)
async def test_a_watch_ends_with(end: Any, raised: type[errors.ClusterError]) -> None:
    client, _ = await connected(Response(EVENT, end))

    async with client.follow(kinds.CLUSTER, "8", 600) as events:
        assert await anext(events) == EVENT
        with pytest.raises(errors.UnavailableError) as found:
            await anext(events)

    assert type(found.value) is raised
