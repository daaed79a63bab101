"""Requests to the cluster's own API server, without starting kubectl for each of them.

Waits poll several times a second; on two cores, a client of some hundred megabytes per poll would
make the start slow.
"""

import http.client
import json
import ssl
from datetime import datetime
from typing import Any

from tests.cluster.network import call_inside
from tests.cluster.paths import Layout

_USER = "cluster-tool"
_TIMEOUT_SECONDS = 5.0


def _request(
    layout: Layout, method: str, path: str, content: dict[str, Any] | None
) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    context.load_cert_chain(layout.pki / f"{_USER}.crt", layout.pki / f"{_USER}.key")
    body = None if content is None else json.dumps(content).encode()

    def request() -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", 6443, context=context, timeout=_TIMEOUT_SECONDS
        )
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    return call_inside(layout.netns, request)


def get(layout: Layout, path: str) -> tuple[int, bytes]:
    """Return the status and body of a GET; status 0 if the server does not answer."""
    return _request(layout, "GET", path, None)


def would_accept(layout: Layout, path: str, content: dict[str, Any]) -> bool:
    """Whether the API server would create the object, admission included (a dry run)."""
    return _request(layout, "POST", f"{path}?dryRun=All", content)[0] == 201


def is_ready(layout: Layout) -> bool:
    return get(layout, "/readyz")[0] == 200


def has_condition(layout: Layout, path: str, condition: str) -> bool:
    """Whether the object at path has the condition with status True for its newest generation."""
    status, body = get(layout, path)
    if status != 200:
        return False
    found: dict[str, Any] = json.loads(body)
    state = found.get("status", {})
    seen = state.get("observedGeneration", found["metadata"].get("generation"))
    if seen != found["metadata"].get("generation"):
        return False
    conditions = state.get("conditions", [])
    return any(c["type"] == condition and c["status"] == "True" for c in conditions)


def renewed_since(layout: Layout, path: str, moment: datetime) -> bool:
    """Whether the Lease at path was renewed after moment."""
    status, body = get(layout, path)
    if status != 200:
        return False
    renewed: str = json.loads(body)["spec"].get("renewTime", "1970-01-01T00:00:00Z")
    return datetime.fromisoformat(renewed) > moment
