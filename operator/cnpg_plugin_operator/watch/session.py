"""The connection that kopf uses for its watches, and the API server's answers on it.

kopf retries a refused watch for a minute before it fails, and does not report which kinds it has
listed. This module provides its session, so /readyz can report at any time what is not watched, and
why.
"""

import logging
import ssl
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final

import aiohttp
import kopf

from cnpg_plugin_operator.cluster.client import SILENCE
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch.kinds import OWN
from cnpg_plugin_operator.watch.objects import OWN_LABEL

logger = logging.getLogger(__name__)

SPARE_CONNECTIONS: Final = 3
"""Connections of a session for lists and discovery, beside one for each watch."""


class Answers:
    """The API server's answers to the required watches."""

    def __init__(self, readiness: Readiness, begun: Callable[[str], None]) -> None:
        self._readiness = readiness
        self._begun = begun
        """Is called with the path of each watch that begins: what it missed is to be listed."""
        self._lacks: dict[str, str] = {}
        """Why each collection, by its path, is not watched; empty if it is."""

    def expect(self, paths: Iterable[str]) -> None:
        """Set the collections that have to be watched before the operator is ready."""
        self._lacks = {path: self._lacks.get(path, "not listed yet") for path in paths}
        self._report()

    def record(self, path: str, status: int, *, is_watch: bool) -> None:
        """Record an answer; a list alone is no watch yet."""
        if path not in self._lacks or (status == HTTPStatus.OK and not is_watch):
            return
        self._begun(path)
        lack = "" if status == HTTPStatus.OK else f"HTTP {status}"
        if lack and lack != self._lacks[path]:
            logger.warning("not watched: %s (%s)", path, lack)
        self._lacks[path] = lack
        self._report()

    def _report(self) -> None:
        lacks = [f"{path} ({why})" for path, why in sorted(self._lacks.items()) if why]
        if lacks:
            self._readiness.lose(f"not watched: {', '.join(lacks)}")
        else:
            self._readiness.gain()


def build_session(
    settings: kopf.OperatorSettings, answers: Answers, watches: int
) -> kopf.AiohttpSession | None:
    """Connect with the pod's account, else with the kubeconfig; None if there is neither.

    kopf's own session opens as many connections as it has requests, and discovery sends dozens at
    once; each TLS connection takes 350 KB. So this session limits them, with one for each watch.
    """
    found = kopf.login_with_service_account(settings=settings)
    found = found or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        return None
    context = found.as_ssl_context()
    # The CAs of EKS and MicroK8s have no key identifiers; only Python since 3.13 refuses them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=watches + SPARE_CONNECTIONS, ssl=context),
        headers=found.as_http_headers(),
        trace_configs=[_trace(answers, found.server)],
    )
    return kopf.AiohttpSession(server=found.server, aiohttp_session=session)


def _trace(answers: Answers, server: str) -> aiohttp.TraceConfig:
    """Record every answer, by its path below that of the server."""
    prefix = server.partition("://")[2].partition("/")[2].rstrip("/")

    async def record(
        _session: aiohttp.ClientSession, _context: object, end: aiohttp.TraceRequestEndParams
    ) -> None:
        path = end.url.path.removeprefix(f"/{prefix}" if prefix else "")
        answers.record(path, end.response.status, is_watch="watch" in end.url.query)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(record)
    return trace


class NothingHandled(kopf.DiffBaseStorage):
    """Remembers no handled state: kopf would copy each object to find changes for no handler."""

    def build(self, **_: object) -> kopf.BodyEssence:
        """Give nothing."""
        return kopf.BodyEssence({})

    def fetch(self, **_: object) -> None:
        """Give nothing."""

    def store(self, **_: object) -> None:
        """Store nothing."""


def build_settings() -> kopf.OperatorSettings:
    """Write nothing, filter on the server, leave the detection of new kinds to `Watches`."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NothingHandled()
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = 30
    settings.watching.inactivity_timeout = SILENCE
    settings.queueing.exit_timeout = 0.5
    for kind in OWN:
        group, _, version = kind.api_version.rpartition("/")
        settings.watching.label_selectors[group, version, kind.plural] = OWN_LABEL
    return settings
