"""The HTTP applications: /healthz and /readyz for everyone, /metrics for everyone or for some."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from cnpg_plugin_operator.telemetry import Metrics, Readiness

Judge = Callable[[str], Awaitable[HTTPStatus]]
"""Says with which status a token is answered; `OK` lets its user read the metrics."""

_BEARER: Final = re.compile(r"bearer +([-A-Za-z0-9._~+/]+=*)", re.IGNORECASE)
"""The header Authorization, as RFC 6750 defines it."""

_REFUSALS: Final = {
    HTTPStatus.UNAUTHORIZED: "a bearer token that the API server accepts is needed",
    HTTPStatus.FORBIDDEN: "the user of the token may not get the URL /metrics",
    HTTPStatus.SERVICE_UNAVAILABLE: "the API server does not answer whose the token is",
}


def build_application(
    metrics: Metrics,
    readiness: Readiness,
    find_fault: Callable[[], str] = str,
    *,
    exposes: bool = True,
) -> web.Application:
    """Build the application of the probes and, if it `exposes` them, of the metrics.

    `find_fault` says what only a restart repairs, empty if nothing.
    """
    metrics.watching.set_function(lambda: float(not readiness.lack and not readiness.is_standby))
    metrics.tasks.set_function(lambda: float(len(asyncio.all_tasks())))

    async def healthz(_: web.Request) -> web.Response:
        """Any answer proves that the event loop runs; the rest is what `find_fault` finds."""
        fault = find_fault()
        return web.Response(status=500 if fault else 200, text=f"{fault or 'ok'}\n")

    async def readyz(_: web.Request) -> web.Response:
        """Ready once every watched kind was listed."""
        if not readiness.lack:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"{readiness.lack}\n")

    async def expose(_: web.Request) -> web.Response:
        return _write(metrics)

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    if exposes:
        application.router.add_get("/metrics", expose)
    return application


def build_guarded_application(metrics: Metrics, judge: Judge) -> web.Application:
    """Build the application of the metrics alone, for whom `judge` lets read them."""

    async def expose(request: web.Request) -> web.Response:
        found = _BEARER.fullmatch(request.headers.get("Authorization", ""))
        status = await judge(found[1]) if found else HTTPStatus.UNAUTHORIZED
        return _write(metrics) if status == HTTPStatus.OK else _refuse(status)

    application = web.Application()
    application.router.add_get("/metrics", expose)
    return application


def _write(metrics: Metrics) -> web.Response:
    return web.Response(
        body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )


def _refuse(status: HTTPStatus) -> web.Response:
    asks = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return web.Response(status=status, text=f"{_REFUSALS[status]}\n", headers=asks)
