"""What the operator reports about itself: metrics, health endpoints, log lines.

Names follow controller-runtime where it has one, so that existing dashboards work. Nothing here
decides anything, and nothing here may read a Secret.
"""

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from cnpg_plugin_operator.api.untrusted import printable

_RECORD_FIELDS: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""Fields that every log record has; all others come from `extra`."""

TRACE_LINES: Final = 60
"""Maximum lines of a logged traceback."""


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        plugin = ("namespace", "name")
        self.reconciles = counter(
            "controller_runtime_reconcile_total",
            "Passes by their result.",
            ("controller", "result"),
        )
        self.reconcile_seconds = histogram(
            "controller_runtime_reconcile_time_seconds", "Duration of a pass.", ("controller",)
        )
        self.ready = gauge("cnpg_plugin_ready", "1 where the plugin is Ready, else 0.", plugin)
        self.info = gauge(
            "cnpg_plugin_info",
            "Always 1; the labels are the plugin's identity.",
            (*plugin, "plugin", "version"),
        )
        self.certificate_expiry = gauge(
            "cnpg_plugin_certificate_expiry_timestamp_seconds",
            "Expiry of the certificate, in seconds since 1970.",
            (*plugin, "role"),
        )
        self.handshake_seconds = histogram(
            "cnpg_plugin_handshake_duration_seconds", "Duration of a handshake."
        )
        self.handshakes = counter(
            "cnpg_plugin_handshakes_total", "Handshakes by their reason.", ("reason",)
        )
        self.restarts = counter(
            "cnpg_plugin_cnpg_restarts_total",
            "Requested restarts of CloudNativePG.",
            ("namespace",),
        )
        self.write_loops = counter(
            "cnpg_plugin_write_loops_total",
            "Stopped write loops, by the repeatedly written object.",
            ("namespace", "kind"),
        )

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a resource that is gone."""
        for gauge in (self.ready, self.info, self.certificate_expiry):
            gauge.remove_by_labels({"namespace": namespace, "name": name})


class Readiness:
    """Whether every required kind is watched, and what is missing if not."""

    def __init__(self) -> None:
        self._lacks = {"": "not every watched kind has been listed yet"}
        """By who watches, what is lacking."""

    @property
    def lack(self) -> str:
        """What is lacking; empty once ready."""
        return "; ".join(self._lacks.values())

    def gain(self, watcher: str = "") -> None:
        """Note that everything is watched that this watcher is there for."""
        self._lacks.pop(watcher, None)

    def lose(self, why: str, watcher: str = "") -> None:
        """Record that something is not watched."""
        self._lacks[watcher] = why


def build_application(metrics: Metrics, readiness: Readiness) -> web.Application:
    """Build the HTTP application of /healthz, /readyz and /metrics."""

    async def healthz(_: web.Request) -> web.Response:
        """Any answer proves that the event loop runs."""
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        """Ready once every watched kind was listed."""
        if not readiness.lack:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"{readiness.lack}\n")

    async def expose(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", expose)
    return application


class JSONFormatter(logging.Formatter):
    """One JSON object per line: ts, level, logger, msg, and the fields from `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line of JSON."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": printable(record.getMessage()),
            **_extra(record),
        }
        if record.exc_info:
            line["error"] = _printable_lines(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """For users: time, level, message, and the fields from `extra` as `key=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Write the record with its extra fields behind the message."""
        extra = " ".join(f"{key}={value}" for key, value in _extra(record).items())
        return super().format(record) + (f"  {extra}" if extra else "")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Write the line without its traceback, which has its own lines."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - the library's
        """Write a traceback line by line."""
        return _printable_lines(super().formatException(ei))


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    return {
        key: value if isinstance(value, int | float) else printable(value)
        for key, value in vars(record).items()
        if key not in _RECORD_FIELDS and not key.startswith("k8s_") and key != "settings"
    }


def _printable_lines(trace: str) -> str:
    """Make each line of a traceback printable; of a very long one only the last are kept."""
    return "\n".join(printable(line) for line in trace.split("\n")[-TRACE_LINES:])


def configure_logging(level: str, *, as_json: bool) -> None:
    """Send all log lines to standard error in one format."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiohttp.access", "asyncio", "grpc", "kopf"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # kopf logs an error for each repeated attempt; `watch.session` reports the answers.
    logging.getLogger("kopf._cogs.clients").setLevel(logging.CRITICAL)
