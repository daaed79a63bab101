"""The connection to the API server: sends one request, with this program's own exceptions.

Of the client library it uses the connection pool and the credentials, without typed models and
discovery: they take 33 MB. Every request has a timeout (the library's default is five minutes).
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster.answers import translate
from cnpg_plugin_operator.cluster.fence import Fence
from cnpg_plugin_operator.cluster.library import ApiException, client, config

REQUEST_TIMEOUT: Final = 20.0
"""Seconds for one request; a failed pass is repeated."""

CONNECTIONS: Final = 4
"""Maximum connections to the API server, beside one for each watch. Each TLS connection takes about
350 KB; the library's default of 100 would need more memory than the rest of a busy operator."""

NO_CODE: Final = "<error>"
"""The code of a request that was not answered, as in client-go."""

JSON: Final = "application/json"

Answer = TypeVar("Answer")

Measure = Callable[[str, str, str, float], None]
"""Takes the code of an answer, the method, the host, and how many seconds the answer took."""


class Connection:
    """One connection pool to the API server.

    With `reads_only`, any request but a read is refused here, before it is sent; with a `fence`,
    any that could arrive when this process does not lead.
    """

    measure: Measure | None = None
    """Is told of every request."""

    def __init__(
        self,
        api: client.ApiClient,
        *,
        in_cluster: bool = False,
        reads_only: bool = False,
        fence: Fence | None = None,
    ) -> None:
        self._api = api
        self._in_cluster = in_cluster
        self._reads_only = reads_only
        self._fence = fence

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None,
        context: str | None = None,
        *,
        reads_only: bool = False,
        fence: Fence | None = None,
        connections: int = CONNECTIONS,
        watches: int = 0,
    ) -> Self:
        """Connect with the pod's service account, or with a kubeconfig.

        `watches` says how many run at the same time. Raises `SettingsError` where neither works.
        """
        configuration = client.Configuration()
        try:
            if kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                await config.load_kube_config(kubeconfig, context, configuration)
        except config.ConfigException as error:
            raise errors.SettingsError(f"cannot connect to Kubernetes: {error}") from error
        configuration.connection_pool_maxsize = connections + watches
        # In the cluster, no proxy leads to the API server, and there is no .netrc: looking for them
        # takes half the CPU of a request, and threads.
        configuration.client_session_kwargs = {"trust_env": kubeconfig is not None}
        configuration.trace_configs = [fence.trace()] if fence is not None else None
        # CAs without key identifiers are common (EKS, MicroK8s); Python 3.13 refuses them by
        # default.
        configuration.disable_strict_ssl_verification = True
        api = client.ApiClient(configuration)
        api.user_agent = names.resource.OPERATOR
        return cls(api, in_cluster=kubeconfig is None, reads_only=reads_only, fence=fence)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def _exchange(
        self,
        method: str,
        path: str,
        target: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[Answer]],
        **parts: Any,  # noqa: ANN401 - of the request, see `_call`
    ) -> Answer:
        """Send a request and read its answer; once more where the token may have expired."""
        if self._reads_only and method != "get":
            raise errors.ForbiddenError(f"{method} {target}: this command only reads")
        try:
            return await self._try(method, path, target, read, **parts)
        except errors.UnauthorizedError:
            if not self._reload_token():
                raise
        return await self._try(method, path, target, read, **parts)

    async def _try(
        self,
        method: str,
        path: str,
        target: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[Answer]],
        **parts: Any,  # noqa: ANN401 - of the request, see `_call`
    ) -> Answer:
        if self._fence is not None and method != "get":
            parts["timeout"] = min(REQUEST_TIMEOUT, self._fence.admit())
        begun, code = time.monotonic(), NO_CODE
        try:
            response = await self._call(method, path, **parts)
            code = str(response.status)
            return await read(response)
        except ApiException as error:
            code = str(error.status or NO_CODE)
            raise translate(error, target) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            words = str(error) or type(error).__name__
            raise errors.UnavailableError(f"{method} {target}: {words}") from error
        finally:
            if self.measure is not None:
                host = urlsplit(self._api.configuration.host).netloc
                self.measure(code, method, host, time.monotonic() - begun)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] = MappingProxyType({}),
        body: object = None,
        content_type: str = JSON,
        timeout: float | aiohttp.ClientTimeout = REQUEST_TIMEOUT,  # noqa: ASYNC109 - of the library
    ) -> aiohttp.ClientResponse:
        """Ask once. Raises the library's `ApiException` for any answer but a success."""
        request = await self._api.param_serialize(
            method.upper(),
            path,
            query_params=[(key, value) for key, value in query.items() if value is not None],
            header_params={"Accept": JSON, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*request, _request_timeout=timeout)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            await answer.read()
            self._api.response_deserialize(answer, {})
        response: aiohttp.ClientResponse = answer.response
        return response

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
