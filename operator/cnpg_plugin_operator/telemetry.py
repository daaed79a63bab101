"""What the operator reports about itself: metrics, health, log lines. `endpoints` serves them.

Names follow controller-runtime where it has one, so that existing dashboards work. Nothing here
decides anything, and nothing here may read a Secret.
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from cnpg_plugin_operator.api.conditions import Status, Type, find_condition
from cnpg_plugin_operator.api.untrusted import mapping, objects, printable
from cnpg_plugin_operator.version import find_version

_RECORD_FIELDS: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""Fields that every log record has; all others come from `extra`."""

TRACE_LINES: Final = 60
"""Maximum lines of a logged traceback."""

STATES: Final = tuple(Status)
"""The states of a condition: each is a series, and one of them is 1."""


class PluginStates:
    """What the status of each plugin says, as gauges: a fixed number of series for each."""

    def __init__(self, gauge: Callable[..., Gauge]) -> None:
        plugin = ("namespace", "name")
        self._ready = gauge(
            "cnpg_plugin_ready_status",
            "1 for the status that the condition Ready has, else 0.",
            (*plugin, "status"),
        )
        self._conditions = gauge(
            "cnpg_plugin_condition",
            "Always 1; the labels are the status and the reason of a condition.",
            (*plugin, "type", "status", "reason"),
        )
        self._suspended = gauge(
            "cnpg_plugin_suspended", "1 where the user suspended the plugin, else 0.", plugin
        )
        self._quarantined = gauge(
            "cnpg_plugin_sidecar_quarantined",
            "1 where the sidecar was removed because CloudNativePG did not start with it, else 0.",
            plugin,
        )

    def set(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Set the series of a plugin from its whole status."""
        self.forget(namespace, name)
        ready = find_condition(status, Type.READY).get("status")
        for state in STATES:
            self._ready.labels(namespace, name, state).set(ready == state)
        for condition in objects(status.get("conditions")):
            words = (condition["type"], condition["status"], condition["reason"])
            self._conditions.labels(namespace, name, *words).set(1)
        suspended = find_condition(status, Type.SUSPENDED).get("status") == Status.TRUE
        self._suspended.labels(namespace, name).set(suspended)
        quarantine = mapping(status.get("sidecar")).get("quarantine")
        self._quarantined.labels(namespace, name).set(quarantine is not None)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a plugin."""
        for gauge in (self._ready, self._conditions, self._suspended, self._quarantined):
            gauge.remove_by_labels({"namespace": namespace, "name": name})


class QueueMetrics:
    """The work queue, under client-go's names; `name` is the controller."""

    def __init__(
        self,
        counter: Callable[..., Counter],
        gauge: Callable[..., Gauge],
        histogram: Callable[..., Histogram],
    ) -> None:
        name = ("name",)
        self._depth = gauge("workqueue_depth", "Keys that wait for a pass.", name)
        self._adds = counter("workqueue_adds_total", "Wakes, without those of waiting keys.", name)
        self._retries = counter("workqueue_retries_total", "Passes that are repeated.", name)
        self._waited = histogram(
            "workqueue_queue_duration_seconds", "How long a key waited for its pass.", name
        )
        self._worked = histogram("workqueue_work_duration_seconds", "Duration of a pass.", name)

    def add(self, name: str) -> None:
        """Count a key that begins to wait."""
        self._adds.labels(name).inc()
        self._depth.labels(name).inc()

    def take(self, name: str, waited: float) -> None:
        """Count a key whose pass begins after these seconds."""
        self._depth.labels(name).dec()
        self._waited.labels(name).observe(waited)

    def finish(self, name: str, seconds: float, *, again: bool) -> None:
        """Count a pass that took these seconds, and whether it is repeated."""
        self._worked.labels(name).observe(seconds)
        if again:
            self._retries.labels(name).inc()


class RequestMetrics:
    """Requests to the API server, under client-go's names."""

    def __init__(
        self, counter: Callable[..., Counter], histogram: Callable[..., Histogram]
    ) -> None:
        self._requests = counter(
            "rest_client_requests_total",
            "Requests to the API server; code is <error> where none was answered.",
            ("code", "method", "host"),
        )
        self._seconds = histogram(
            "rest_client_request_duration_seconds",
            "How long the API server took to answer.",
            ("verb", "host"),
        )

    def count(self, code: str, method: str, host: str, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(code, method.upper(), host).inc()
        self._seconds.labels(method.upper(), host).observe(seconds)


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
        self.reconcile_errors = counter(
            "controller_runtime_reconcile_errors_total", "Failed passes.", ("controller",)
        )
        self.watching = gauge(
            "cnpg_plugin_operator_watching",
            "1 while everything that matters is watched, else 0, as in standbys.",
        )
        build = gauge(
            "cnpg_plugin_operator_build_info",
            "Always 1; the labels are the versions of the operator and of Python.",
            ("version", "python"),
        )
        build.labels(find_version(), platform.python_version()).set(1)
        self.states = PluginStates(gauge)
        self.queue = QueueMetrics(counter, gauge, histogram)
        self.requests = RequestMetrics(counter, histogram)

        # Self-observation.
        self.leader = gauge(
            "cnpg_plugin_operator_leader", "1 where this process leads and may write, else 0."
        )
        self.lag = gauge(
            "cnpg_plugin_operator_event_loop_lag_seconds",
            "How late the event loop was, at most, in the last minute.",
        )
        self.stale_watches = gauge(
            "cnpg_plugin_operator_stale_watches", "Number of watches that are down."
        )
        self.stuck = gauge(
            "cnpg_plugin_operator_stuck_passes", "Passes that take longer than they should."
        )
        self.tasks = gauge(
            "cnpg_plugin_operator_tasks", "Tasks of the event loop; a number that grows is a leak."
        )

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a resource that is gone."""
        for gauge in (self.ready, self.info, self.certificate_expiry):
            gauge.remove_by_labels({"namespace": namespace, "name": name})
        self.states.forget(namespace, name)


class Readiness:
    """Whether every required kind is watched, and what is missing if not."""

    def __init__(self) -> None:
        self._lacks = {"": "not every watched kind has been listed yet"}
        """By who watches, what is lacking."""
        self.is_standby = False
        """Whether this process watches nothing, and is ready all the same."""

    @property
    def lack(self) -> str:
        """What is lacking; empty once ready."""
        return "; ".join(self._lacks.values())

    @property
    def count(self) -> int:
        """How many watchers lack something."""
        return len(self._lacks)

    def gain(self, watcher: str = "") -> None:
        """Note that everything is watched that this watcher is there for."""
        self._lacks.pop(watcher, None)

    def lose(self, why: str, watcher: str = "") -> None:
        """Record that something is not watched."""
        self._lacks[watcher] = why


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
