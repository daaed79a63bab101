"""Opens the ports: one for everyone, and one for the metrics where they have their own."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web

from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.reviews import Reviewer
from cnpg_plugin_operator.endpoints.access import AT_ONCE, Access
from cnpg_plugin_operator.endpoints.application import (
    build_application,
    build_guarded_application,
)
from cnpg_plugin_operator.endpoints.certificate import VARIABLE, ServedPair
from cnpg_plugin_operator.errors import SettingsError
from cnpg_plugin_operator.settings import PREFIX, Settings
from cnpg_plugin_operator.telemetry import Metrics, Readiness


@asynccontextmanager
async def serve(
    settings: Settings, metrics: Metrics, readiness: Readiness, find_fault: Callable[[], str]
) -> AsyncIterator[None]:
    """Serve meanwhile. Raises `SettingsError` where a port or the certificate is unusable."""
    exposes = settings.metrics_address is None
    application = build_application(metrics, readiness, find_fault, exposes=exposes)
    async with AsyncExitStack() as stack:
        await _listen(stack, application, "HTTP_ADDRESS", settings.http_address)
        if settings.metrics_address is not None:
            if not settings.metrics_certificate:
                raise SettingsError(f"{PREFIX}METRICS_ADDRESS needs {VARIABLE}, which is not set")
            pair = ServedPair(Path(settings.metrics_certificate))
            # A connection of its own, without a fence: a standby serves metrics as well, and
            # reviews store nothing.
            client = await Client.connect(settings.kubeconfig, connections=AT_ONCE)
            stack.push_async_callback(client.close)
            client.measure = metrics.requests.count
            guarded = build_guarded_application(metrics, Access(Reviewer(client)).judge)
            address = settings.metrics_address
            await _listen(stack, guarded, "METRICS_ADDRESS", address, pair.context)
        yield


async def _listen(
    stack: AsyncExitStack,
    application: web.Application,
    name: str,
    address: tuple[str, int],
    tls: ssl.SSLContext | None = None,
) -> None:
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    host, port = address
    try:
        await web.TCPSite(runner, host or None, port, ssl_context=tls).start()
    except OSError as error:
        raise SettingsError(f"{PREFIX}{name} {host}:{port}: {error.strerror}") from error
