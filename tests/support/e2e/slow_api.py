"""A way to the API server that can be slow or closed: the operator's requests go through a proxy.

TLS passes through unchanged, so the operator gets the proxy's address instead of the API server's,
whose certificate contains the node's address. The kernel of a small machine has no `sch_netem` that
would do the same.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.cluster import Cluster
from tests.cluster.network import NODE_ADDRESS, enter_network
from tests.support.e2e.installation import image_key, install_chart

API_PORT: Final = 6443
_CHUNK: Final = 65536


@contextmanager
def slowed_down(cluster: Cluster, delay: float, **values: object) -> Iterator["ApiProxy"]:
    """Delay each of the operator's requests by this many seconds; the chart takes values."""
    proxy = ApiProxy(cluster, delay)
    proxy.start()
    try:
        where = {"KUBERNETES_SERVICE_HOST": NODE_ADDRESS, "KUBERNETES_SERVICE_PORT": proxy.port}
        environment = [{"name": name, "value": str(value)} for name, value in where.items()]
        install_chart(cluster, image_key(), extraEnv=environment, **values)
        yield proxy
    finally:
        install_chart(cluster, image_key())
        proxy.stop()


class ApiProxy:
    """Forwards connections in a thread of its own, inside the cluster's network."""

    port: int

    def __init__(self, cluster: Cluster, delay: float) -> None:
        self._cluster, self._delay = cluster, delay
        self._started, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="api-proxy", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def start(self) -> None:
        self._thread.start()
        if not self._started.wait(10):
            raise TimeoutError("the proxy does not start")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Close every connection, also new ones, as if there was no API server."""
        self._loop.call_soon_threadsafe(self._close)
        try:
            yield
        finally:
            self._is_closed = False

    def _close(self) -> None:
        self._is_closed = True
        for connection in self._connections:
            connection.cancel()

    def _run(self) -> None:
        enter_network(self._cluster.layout.netns)
        server = self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        """End every connection, and wait until its sockets are closed."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, NODE_ADDRESS, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed:
            writer.close()
            return
        if (task := asyncio.current_task()) is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            upstream, sink = await asyncio.open_connection(NODE_ADDRESS, API_PORT)
            try:
                await asyncio.gather(
                    self._forward(reader, sink, self._delay), self._forward(upstream, writer, 0)
                )
            finally:
                sink.close()
                writer.close()

    async def _forward(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float
    ) -> None:
        """Forward all data, each piece with the same delay."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def drain() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(due - self._loop.time(), 0))
                if not data:
                    break
                sink.write(data)
                await sink.drain()
            sink.close()

        draining = asyncio.ensure_future(drain())
        try:
            while True:
                data = await source.read(_CHUNK)
                queue.put_nowait((self._loop.time() + delay, data))
                if not data:
                    break
            await draining
        finally:
            draining.cancel()
