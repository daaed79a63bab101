"""A small client over `kubernetes.aio`: the verbs this program needs, with its own exceptions.

It uses the dynamic client without discovery and without typed models: desired objects are plain
dictionaries, which keeps server-side apply exact and the process 33 MB smaller. Every request has a
timeout (the library's default is five minutes).
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config, dynamic
from kubernetes.aio.client.exceptions import ApiException

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.kinds import Kind

REQUEST_TIMEOUT: Final = 20.0
"""Seconds for one request; a failed pass is repeated."""

CONNECTIONS: Final = 4
"""Maximum connections to the API server. Each TLS connection takes about 350 KB; the library's
default of 100 would need more memory than the rest of a busy operator."""

PAGE: Final = 250
"""Objects per page where only their names are needed."""

RECURSION_LIMIT: Final = 12_000
"""For `sys.setrecursionlimit`: the API server stores JSON of up to 10,000 levels; Python's own
1,000 could not even read it."""

_STATUS_ERRORS: Final[Mapping[int, type[errors.ClusterError]]] = {
    400: errors.ForbiddenError,
    401: errors.UnauthorizedError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    422: errors.ForbiddenError,
}
"""Exceptions by status code; `_names_field` distinguishes the meanings of 400 and 422."""

_FIELD_AT_FAULT: Final = (
    "failed to create typed patch object",
    "field not declared in schema",
    "strict decoding error",
    "unknown field",
    "cannot be handled as",
    "cannot unmarshal",
)
"""Texts of the API server (1.29 to 1.34) about a field that it does not know or cannot parse. The
first comes with status 500."""

_ADMISSION: Final = ("denied request", "denied the request")
"""Texts of the API server about a refusal by an admission policy or an admission webhook, which
choose the status."""

_UNAUTHORIZED: Final = 401


class Client:
    """One connection pool to the API server."""

    def __init__(self, api: client.ApiClient, *, in_cluster: bool = False) -> None:
        self._api = api
        self._in_cluster = in_cluster
        self._dynamic = dynamic.DynamicClient(api)

    @classmethod
    async def connect(cls, kubeconfig: str | None, context: str | None = None) -> "Client":
        """Connect with the pod's service account, or with a kubeconfig.

        Raises `SettingsError` where neither works.
        """
        configuration = client.Configuration()
        try:
            if kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                await config.load_kube_config(kubeconfig, context, configuration)
        except config.ConfigException as error:
            raise errors.SettingsError(f"cannot connect to Kubernetes: {error}") from error
        configuration.connection_pool_maxsize = CONNECTIONS
        # CAs without key identifiers are common (EKS, MicroK8s); Python 3.13 refuses them by
        # default.
        configuration.disable_strict_ssl_verification = True
        return cls(client.ApiClient(configuration), in_cluster=kubeconfig is None)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Read one object. Raises `NotFoundError`, or `KindMissingError` for an unknown kind."""
        return well_formed(await self._request("get", kind, namespace, name))

    async def find(
        self, kind: Kind, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        """Read one object, or None where it does not exist or the name is invalid."""
        try:
            return await self.get(kind, name, namespace)
        except (errors.NotFoundError, errors.InvalidNameError):
            return None

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[dict[str, Any]]:
        """Read all objects that the selectors match, in one response."""
        listing = await self._request(
            "get", kind, namespace, label_selector=labels, field_selector=fields
        )
        return [well_formed(body) for body in listing.get("items") or []]

    async def names(self, kind: Kind, namespace: str) -> tuple[str, ...]:
        """Read the names of all objects of a namespace, page by page."""
        found: tuple[str, ...] = ()
        token = ""
        while True:
            query = [("limit", str(PAGE)), *([("continue", token)] if token else [])]
            page = await self._request("get", kind, namespace, query_params=query)
            found += tuple(str(body["metadata"]["name"]) for body in page.get("items") or ())
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return found

    async def apply(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        manager: str,
        subresource: str | None = None,
        force: bool = True,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Apply server-side, strictly: an unknown field is an error that names it.

        Raises `ConflictError` where another manager owns a field and `force` is off. A dry run
        runs admission and changes nothing.
        """
        metadata = body["metadata"]
        return await self._request(
            "patch",
            kind,
            metadata.get("namespace"),
            metadata["name"],
            subresource=subresource,
            body={"apiVersion": kind.api_version, "kind": kind.kind, **body},
            content_type="application/apply-patch+yaml",
            field_manager=manager,
            force_conflicts=force,
            query_params=[("fieldValidation", "Strict"), *([("dryRun", "All")] if dry_run else [])],
        )

    async def merge_patch(
        self, kind: Kind, name: str, namespace: str | None, patch: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Patch by JSON merge; `metadata.resourceVersion` in the patch makes it conditional."""
        return await self._request(
            "patch",
            kind,
            namespace,
            name,
            body=patch,
            content_type="application/merge-patch+json",
        )

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object that only this program names, such as an Event."""
        return await self._request("post", kind, body["metadata"]["namespace"], body=body)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None, *, uid: str | None = None
    ) -> None:
        """Delete an object and its dependents; a missing object is fine.

        With a uid, another object that was created under the same name stays.
        """
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._request("delete", kind, namespace, name, body=options)
        except errors.NotFoundError:
            return

    async def served(self, api_version: str) -> frozenset[str]:
        """Read the plurals of the kinds that an API group serves; empty where it does not exist."""
        try:
            answer = await self._send("get", f"/apis/{api_version}", f"API group {api_version}")
        except (errors.NotFoundError, errors.KindMissingError):
            return frozenset()
        return frozenset(resource["name"] for resource in answer.get("resources") or [])

    async def version(self) -> str:
        """Read the API server's version, such as `v1.34.0`."""
        return str((await self._send("get", "/version", "the version")).get("gitVersion", ""))

    async def _request(
        self,
        method: str,
        kind: Kind,
        namespace: str | None,
        name: str | None = None,
        *,
        subresource: str | None = None,
        **parameters: Any,  # noqa: ANN401 - passed on to the library
    ) -> dict[str, Any]:
        path = kind.path(namespace, name, subresource)
        target = f"{kind.kind} {namespace + '/' if namespace else ''}{name or ''}".strip()
        return await self._send(method, path, target, **parameters)

    async def _send(
        self,
        method: str,
        path: str,
        target: str,
        **parameters: Any,  # noqa: ANN401 - passed on to the library
    ) -> dict[str, Any]:
        """Send one request; `target` describes its object in messages."""
        try:
            return await self._try(method, path, **parameters)
        except ApiException as error:
            if error.status != _UNAUTHORIZED or not self._reload_token():
                raise _translate(error, target) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            words = str(error) or type(error).__name__
            raise errors.UnavailableError(f"{method} {target}: {words}") from error
        try:
            return await self._try(method, path, **parameters)
        except ApiException as error:
            raise _translate(error, target) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            words = str(error) or type(error).__name__
            raise errors.UnavailableError(f"{method} {target}: {words}") from error

    async def _try(
        self,
        method: str,
        path: str,
        **parameters: Any,  # noqa: ANN401 - passed on to the library
    ) -> dict[str, Any]:
        response = await self._dynamic.request(
            method, path, serialize=False, _request_timeout=REQUEST_TIMEOUT, **parameters
        )
        body: dict[str, Any] = await response.json()
        return body

    def _reload_token(self) -> bool:
        """Read the pod's token from its file now: the library reads it once a minute.

        Returns whether there is such a file.
        """
        if not self._in_cluster:
            return False
        try:
            config.load_incluster_config(client_configuration=self._api.configuration)
        except (config.ConfigException, OSError):
            return False
        return True


class ReadingClient(Client):
    """A client that only reads: any other request is refused here, before it is sent."""

    async def _send(
        self,
        method: str,
        path: str,
        target: str,
        **parameters: Any,  # noqa: ANN401 - passed on to the library
    ) -> dict[str, Any]:
        if method != "get":
            raise errors.ForbiddenError(f"{method} {target}: this command only reads")
        return await super()._send(method, path, target, **parameters)


def well_formed(body: dict[str, Any]) -> dict[str, Any]:
    """Drop the fields of an object that do not have the shape of every Kubernetes object.

    Only a custom resource whose definition has no schema for them can contain such fields.
    """
    metadata = body["metadata"]
    for field in ("labels", "annotations"):
        if field in metadata:
            texts = mapping(metadata[field]).items()
            metadata[field] = {key: text for key, text in texts if isinstance(text, str)}
    for field, element in (("ownerReferences", dict), ("managedFields", dict), ("finalizers", str)):
        if field in metadata:
            found = metadata[field] if isinstance(metadata[field], list) else []
            metadata[field] = [each for each in found if isinstance(each, element)]
    for field in ("spec", "status"):
        if field in body and not isinstance(body[field], dict):
            body[field] = {}
    return body


def _translate(error: ApiException, target: str) -> errors.ClusterError:
    """Turn a status code into one of this program's exceptions, with the API server's message."""
    try:
        answer = json.loads(error.body or "")
        message = str(answer.get("message") or error.reason)
    except (ValueError, AttributeError, RecursionError):
        answer = {}
        # Only a path that is not served is answered without a Status object.
        message = str(error.reason)
        if error.status == 404:  # noqa: PLR2004 - the HTTP status
            return errors.KindMissingError(f"{target}: the cluster does not serve this kind")
    kind = _STATUS_ERRORS.get(error.status or 0, errors.UnavailableError)
    if any(words in message for words in _ADMISSION):
        kind = errors.ForbiddenError
    elif _names_field(answer, message) and kind not in (errors.NotFoundError, errors.ConflictError):
        kind = errors.RejectedError
    return kind(f"{target}: {message}")


def _names_field(answer: Mapping[str, Any], message: str) -> bool:
    """Whether a refusal is about a field of the object, not about its sender or the time."""
    causes = mapping(answer.get("details")).get("causes")
    named = isinstance(causes, list) and any(mapping(cause).get("field") for cause in causes)
    return named or any(words in message for words in _FIELD_AT_FAULT)
