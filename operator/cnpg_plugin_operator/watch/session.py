"""The connection that kopf watches over, and what the API server answers on it.

kopf retries a refused watch for a minute before it fails, and does not tell which kinds it has
listed. Its session is ours, so /readyz can say at any time what is not watched, and why.
"""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import aiohttp
import kopf

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster.kinds import PLUGIN
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch.kinds import OWN

logger = logging.getLogger(__name__)

SPARE_CONNECTIONS: Final = 3
"""Of a session, beside one for each watch: for lists and discovery."""


class Answers:
    """What the API server answered to the watches that are wanted."""

    def __init__(self, readiness: Readiness, interrupted: asyncio.Event) -> None:
        self._readiness = readiness
        self._interrupted = interrupted
        """Set whenever a watch of resources begins: what it missed is to be listed."""
        self._lacks: dict[str, str] = {}
        """By the path of each collection, why it is not watched; empty where it is."""

    def expect(self, paths: Iterable[str]) -> None:
        """Be ready as soon as all of these collections are watched, and only then."""
        self._lacks = {path: self._lacks.get(path, "not listed yet") for path in paths}
        self._tell()

    def note(self, path: str, status: int, *, is_watch: bool) -> None:
        """Note an answer; a list alone is no watch yet."""
        if path not in self._lacks or (status == HTTPStatus.OK and not is_watch):
            return
        if path == PLUGIN.path():
            self._interrupted.set()
        lack = "" if status == HTTPStatus.OK else f"HTTP {status}"
        if lack and lack != self._lacks[path]:
            logger.warning("not watched: %s (%s)", path, lack)
        self._lacks[path] = lack
        self._tell()

    def _tell(self) -> None:
        lacks = [f"{path} ({why})" for path, why in sorted(self._lacks.items()) if why]
        if lacks:
            self._readiness.lose(f"not watched: {', '.join(lacks)}")
        else:
            self._readiness.gain()


def build_session(
    settings: kopf.OperatorSettings, answers: Answers, watches: int
) -> kopf.AiohttpSession | None:
    """Connect as the pod's account, else as the kubeconfig says; None where there is neither.

    kopf's own session opens as many connections as it has requests, and discovery sends dozens at
    once; each TLS connection keeps 350 KB. So the session is given, with room for its watches.
    """
    found = kopf.login_with_service_account(settings=settings)
    found = found or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        return None
    context = found.as_ssl_context()
    # The CAs of EKS and MicroK8s have no key identifiers; only Python since 3.13 minds.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=watches + SPARE_CONNECTIONS, ssl=context),
        headers=found.as_http_headers(),
        trace_configs=[_trace(answers, found.server)],
    )
    return kopf.AiohttpSession(server=found.server, aiohttp_session=session)


def _trace(answers: Answers, server: str) -> aiohttp.TraceConfig:
    """Let every answer be noted, by its path below that of the server."""
    prefix = server.partition("://")[2].partition("/")[2].rstrip("/")

    async def note(
        _session: aiohttp.ClientSession, _context: object, end: aiohttp.TraceRequestEndParams
    ) -> None:
        path = end.url.path.removeprefix(f"/{prefix}" if prefix else "")
        answers.note(path, end.response.status, is_watch="watch" in end.url.query)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    return trace


def build_settings() -> kopf.OperatorSettings:
    """Write nothing, filter on the server, leave the noticing of new kinds to `Watches`."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = 30
    settings.queueing.exit_timeout = 0.5
    own = f"{names.labels.MANAGED_BY}={names.resource.OPERATOR}"
    for kind in OWN:
        group, _, version = kind.api_version.rpartition("/")
        settings.watching.label_selectors[group, version, kind.plural] = own
    return settings
