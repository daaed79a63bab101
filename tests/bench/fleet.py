"""Many Clusters that CloudNativePG does not reconcile, and streams of updates of their status."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.bench import cluster_bodies as bodies
from tests.bench.figures import BenchError
from tests.cluster import Cluster
from tests.cluster.progress import say
from tests.support import wait
from tests.support.e2e.api import CNPG, CORE, Api

COLLECTION = f"{CNPG}/namespaces/{bodies.NAMESPACE}/clusters"
CONNECTIONS = 6
SPOKEN = 500
"""Clusters between two words about the progress."""
PATIENCE = 300.0


@dataclass
class Fleet:
    """The Clusters number 0 to `size`, each of which uses one of the plugins."""

    cluster: Cluster
    size: int = 0
    _ticks: "count[int]" = field(default_factory=count)

    def ensure(self, size: int, reported: Sequence[Mapping[str, Any]]) -> None:
        """Create Clusters until there are so many.

        `reported` is what CloudNativePG shows of each plugin: name, version and capabilities.
        """
        with _connected(self.cluster) as apis:
            api = apis[0]
            if api.find(f"{CORE}/namespaces/{bodies.NAMESPACE}") is None:
                namespace = {"metadata": {"name": bodies.NAMESPACE}}
                api.create(f"{CORE}/namespaces", namespace)
            self.size = self._count(api)
            if self.size > size:
                raise BenchError(f"there are {self.size} Clusters, more than {size}")
            fresh = range(self.size, size)
            _side_by_side(apis, fresh, lambda a, index: self._create(a, index, reported))
        self.size = size

    def remove(self) -> None:
        """Delete all of them with their namespace: for a single request they may be too many."""
        api = Api(self.cluster)
        path = f"{CORE}/namespaces/{bodies.NAMESPACE}"
        if api.find(path) is not None:
            say("removing the fleet")
            api.delete(path)
            wait.until("the fleet is gone", lambda: not api.find(path), within=PATIENCE)
        api.close()
        self.size = 0

    def describe(self) -> str:
        """Say how many they are, and how large one of them is as the API server sends it."""
        api = Api(self.cluster)
        body = api.get(f"{COLLECTION}/{bodies.name_of(0)}")
        api.close()
        whole = _kilobytes(body)
        del body["metadata"]["managedFields"]
        own = _kilobytes(body)
        return f"{self.size} Clusters of {own:.1f} KB ({whole:.1f} with managedFields)"

    def stream(self, rate: float, seconds: float, *, stop: threading.Event | None = None) -> int:
        """Update so many statuses a second that matter to no plugin; say how many were updated."""
        begun, stopped = time.monotonic(), stop or threading.Event()

        def update(api: Api, number: int) -> None:
            stopped.wait(max(begun + number / rate - time.monotonic(), 0))
            late = time.monotonic() > begun + seconds
            if not late and not stopped.is_set():
                tick = next(self._ticks)
                index = tick * 7919 % self.size
                self.change(api, index, bodies.build_irrelevant(index, tick))
                made.append(tick)

        made: list[int] = []
        with _connected(self.cluster) as apis:
            _side_by_side(apis, range(int(rate * seconds)), update)
        return len(made)

    def change(self, api: Api, index: int, status: Mapping[str, Any]) -> None:
        """Change the status of one."""
        api.patch(f"{COLLECTION}/{bodies.name_of(index)}/status", {"status": status})

    def heal(self, api: Api) -> None:
        """Let those be healthy again whose plugin CloudNativePG did not know after a restart.

        It says so even of Clusters that it does not reconcile, but never the opposite.
        """
        for body in api.list(COLLECTION):
            if body["status"].get("phase") != bodies.HEALTHY:
                path = f"{COLLECTION}/{body['metadata']['name']}/status"
                api.patch(path, {"status": bodies.build_relevant(healthy=True)})

    def replace(self, api: Api, index: int, reported: Sequence[Mapping[str, Any]]) -> None:
        """Delete one and create it again."""
        path = f"{COLLECTION}/{bodies.name_of(index)}"
        api.delete(path)
        wait.until("a Cluster is gone", lambda: api.find(path) is None, within=PATIENCE)
        self._create(api, index, reported)

    def _create(self, api: Api, index: int, reported: Sequence[Mapping[str, Any]]) -> None:
        shown = reported[index % len(reported)]
        api.create(COLLECTION, bodies.build_cluster(index, str(shown["name"])))
        self.change(api, index, bodies.build_status(index, shown))
        if (index + 1) % SPOKEN == 0:
            say(f"{index + 1} Clusters")

    def _count(self, api: Api) -> int:
        answer = api.get(f"{COLLECTION}?limit=1")
        remaining = answer["metadata"].get("remainingItemCount") or 0
        return len(answer["items"]) + int(remaining)


def _kilobytes(body: Mapping[str, Any]) -> float:
    return len(json.dumps(body, separators=(",", ":"))) / 1000


@contextmanager
def _connected(cluster: Cluster) -> Iterator[list[Api]]:
    """Open some connections to the API server, and close them in the end."""
    apis = [Api(cluster) for _ in range(CONNECTIONS)]
    try:
        yield apis
    finally:
        for api in apis:
            api.close()


def _side_by_side(
    apis: Sequence[Api], numbers: Iterable[int], act: Callable[[Api, int], None]
) -> None:
    """Act on all numbers, in order for each connection; the first failure ends it."""
    listed = list(numbers)

    def work(place: int) -> None:
        for number in listed[place :: len(apis)]:
            act(apis[place], number)

    with ThreadPoolExecutor(len(apis)) as pool:
        for done in [pool.submit(work, place) for place in range(len(apis))]:
            done.result()
