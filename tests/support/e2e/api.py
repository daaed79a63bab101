"""The test cluster's API server without a kubectl for each request: reads, patches, watches.

Waits poll several times a second; starting kubectl for every poll would slow everything down on two
cores. What a user does by hand, the tests still do with kubectl.
"""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlencode

from tests.cluster import Cluster
from tests.cluster.network import call_inside

Object = dict[str, Any]
"""One Kubernetes object."""

_USER = "admin"
_TIMEOUT = 30.0
_WATCH_SECONDS = 3600

CORE: Final = "/api/v1"
APPS: Final = "/apis/apps/v1"
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
PLUGINS: Final = "/apis/cnpgplugin.dev/v1beta1"
CERT_MANAGER: Final = "/apis/cert-manager.io/v1"
CNPG: Final = "/apis/postgresql.cnpg.io/v1"


class ApiError(Exception):
    """The API server refused a request; contains its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """Requests as the administrator over one kept connection."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        pki = cluster.layout.pki
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / f"{_USER}.crt", pki / f"{_USER}.key")
        self._connection: http.client.HTTPSConnection | None = None
        self._lock = threading.Lock()

    def connect(self) -> http.client.HTTPSConnection:
        """Open a separate connection; a socket stays in the network namespace of its creation."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", 6443, context=self._context, timeout=_TIMEOUT
        )
        call_inside(self._cluster.layout.netns, connection.connect)
        return connection

    def close(self) -> None:
        """Return the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def find(self, path: str) -> Object | None:
        """Read one object, or None if it does not exist."""
        status, answer = self._request("GET", path)
        if status == http.client.NOT_FOUND:
            return None
        return _checked(status, answer)

    def get(self, path: str) -> Object:
        """Read one object."""
        return _checked(*self._request("GET", path))

    def list(self, path: str, **selectors: str) -> list[Object]:
        """Read the objects of a collection, by labelSelector or fieldSelector."""
        query = f"?{urlencode(selectors)}" if selectors else ""
        items: list[Object] = self.get(path + query)["items"]
        return items

    def create(self, path: str, body: Mapping[str, Any]) -> Object:
        """Create an object in a collection."""
        return _checked(*self._request("POST", path, body, "application/json"))

    def apply(
        self, path: str, body: Mapping[str, Any], manager: str, *, force: bool, **options: str
    ) -> Object:
        """Apply an object server-side; options are parameters of the request."""
        query = urlencode({"fieldManager": manager, "force": str(force).lower(), **options})
        return _checked(
            *self._request("PATCH", f"{path}?{query}", body, "application/apply-patch+yaml")
        )

    def patch(self, path: str, change: Mapping[str, Any]) -> Object:
        """Change an object by JSON merge, as `kubectl patch --type=merge` does."""
        return _checked(*self._request("PATCH", path, change, "application/merge-patch+json"))

    def delete(self, path: str) -> None:
        """Delete an object, which need not exist."""
        status, answer = self._request("DELETE", path)
        if status != http.client.NOT_FOUND:
            _checked(status, answer)

    def _request(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, bytes]:
        body = None if content is None else json.dumps(content).encode()
        with self._lock:
            for last in (False, True):
                connection = self._connection or self.connect()
                self._connection = connection
                try:
                    connection.request(method, path, body, {"Content-Type": content_type})
                    response = connection.getresponse()
                    return response.status, response.read()
                except (OSError, http.client.HTTPException):
                    # The server closes idle connections: retry once, then fail.
                    connection.close()
                    self._connection = None
                    if last:
                        raise
        raise AssertionError("unreachable")


def _checked(status: int, answer: bytes) -> Object:
    body: Object = json.loads(answer)
    if status >= http.client.BAD_REQUEST:
        raise ApiError(status, str(body.get("message", body)))
    return body


@dataclass(frozen=True)
class Change:
    """One event of a watch."""

    at: float
    """When it arrived (monotonic seconds)."""
    type: str
    """ADDED, MODIFIED or DELETED."""
    object: Object

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(self.object["metadata"]["name"])


@dataclass
class Recorder:
    """All changes of the objects of a collection, from `start` to `stop`.

    Polling can miss a brief state; the API server sends all states to a watch.
    """

    api: Api
    path: str
    changes: list[Change] = field(default_factory=list)
    _stopped: bool = False
    _broken: str = ""
    _connection: http.client.HTTPSConnection | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Record everything from now on, without the existing objects."""
        version = self.api.get(f"{self.path}?limit=1")["metadata"]["resourceVersion"]
        query = urlencode(
            {"watch": "1", "resourceVersion": version, "timeoutSeconds": _WATCH_SECONDS}
        )
        self._connection = self.api.connect()
        if self._connection.sock is not None:
            self._connection.sock.settimeout(None)
        self._connection.request("GET", f"{self.path}?{query}")
        response = self._connection.getresponse()
        self._thread = threading.Thread(
            target=self._record, args=(response,), name=f"watch {self.path}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stopped = True
        if self._connection is not None and self._connection.sock is not None:
            with suppress(OSError):
                self._connection.sock.shutdown(2)
        if self._thread is not None:
            self._thread.join(timeout=10)
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def of(self, name: str) -> list[Change]:
        """The events of one object so far."""
        return [change for change in self._so_far() if change.name == name]

    def first(self, matches: Callable[[Object], bool]) -> float | None:
        """When an object first had the described state, or None."""
        return next((c.at for c in self._so_far() if matches(c.object)), None)

    def _so_far(self) -> list[Change]:
        if self._broken:
            raise AssertionError(f"the watch of {self.path} broke: {self._broken}")
        return list(self.changes)

    def _record(self, response: http.client.HTTPResponse) -> None:
        try:
            for change in _read_changes(response):
                self.changes.append(change)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._broken = "" if self._stopped else repr(error)
        else:
            self._broken = "" if self._stopped else "the server ended it"


def _read_changes(response: http.client.HTTPResponse) -> Iterator[Change]:
    while line := response.readline():
        event = json.loads(line)
        if event["type"] == "ERROR":
            raise ValueError(event["object"].get("message"))
        yield Change(time.monotonic(), event["type"], event["object"])
