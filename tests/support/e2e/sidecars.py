"""Plugins as sidecars, CloudNativePG's Deployment as their host, and the effect on Clusters."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Self

from tests.support import wait
from tests.support.e2e.api import Api, ApiError, Object, Recorder
from tests.support.e2e.meanwhile import meanwhile
from tests.support.e2e.plugins import Plugins, collection, is_ready
from tests.support.e2e.rolls import CNPG
from tests.support.resources import NAMESPACE, Manifest, plugin

PATH: Final = f"{collection('Deployment')}/{CNPG}"
WHERE: Final = ("--namespace", NAMESPACE)
GATE: Final = "cnpg-plugins-gate"
TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
MINUTE: Final = 60.0


def sidecar(name: str, **spec: Any) -> Manifest:
    """A plugin of the sample image in CloudNativePG's own pod."""
    return plugin(name, mode="Sidecar", **spec)


def until_ready(plugins: Plugins, *names: str, within: float = MINUTE) -> None:
    """Wait until all of them are Ready at the same time."""

    def missing() -> list[str]:
        found = {each["metadata"]["name"]: each for each in plugins.api.list(_RESOURCES)}
        return [name for name in names if not is_ready(found.get(name))]

    wait.until(
        f"{', '.join(names)} are Ready",
        lambda: not missing(),
        within=within,
        explain=lambda: "\n".join(map(plugins.explain, missing()[:2])),
    )


_RESOURCES: Final = collection("CNPGPlugin")


def template(api: Api) -> Object:
    """CloudNativePG's present pod template."""
    found: Object = api.get(PATH)["spec"]["template"]
    return found


def pods(api: Api) -> list[Object]:
    """CloudNativePG's pods, without terminating and evicted ones."""
    label = "app.kubernetes.io/name=cloudnative-pg"
    found = api.list(collection("Pod"), labelSelector=label)
    staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return [pod for pod in staying if pod["status"].get("phase") not in ("Failed", "Succeeded")]


def until_rolled(plugins: Plugins) -> None:
    """Wait until CloudNativePG's rollout is over."""
    plugins.kubectl("rollout", "status", f"deployment/{CNPG}", *WHERE, "--timeout=300s")


def until_template(plugins: Plugins, expected: Object, *, within: float = MINUTE) -> None:
    """Wait until the pod template is exactly as expected."""
    wait.until(
        "CloudNativePG's pod template is as it was",
        lambda: template(plugins.api) == expected,
        within=within,
        explain=lambda: json.dumps(template(plugins.api)),
    )


@contextmanager
def scaled_to_nothing(plugins: Plugins) -> Iterator[None]:
    """CloudNativePG without a pod."""
    scale = ("scale", f"deployment/{CNPG}", *WHERE)
    plugins.kubectl(*scale, "--replicas=0")
    try:
        wait.until("CloudNativePG is gone", lambda: not pods(plugins.api), within=MINUTE)
        yield
    finally:
        plugins.kubectl(*scale, "--replicas=1")
        until_rolled(plugins)


@dataclass
class Host:
    """CloudNativePG's Deployment, watched from `__enter__` to `__exit__`."""

    api: Api
    _first: Object = field(init=False)
    _began: float = field(init=False)
    _recorder: Recorder = field(init=False)

    def __enter__(self) -> Self:
        self._recorder = Recorder(self.api, collection("Deployment"))
        self._first = self.api.get(PATH)
        self._began = time.monotonic()
        self._recorder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.stop()

    @property
    def rolls(self) -> int:
        """How often its pod template was changed so far; without pods nothing rolls."""
        changes = (change.object for change in self._recorder.of(CNPG))
        specs = [each["spec"] for each in (self._first, *changes)]
        return sum(
            previous["template"] != latter["template"]
            for previous, latter in pairwise(specs)
            if latter["replicas"]
        )

    @property
    def longest_unavailable(self) -> float:
        """The longest time without an available replica so far, in seconds."""
        seen = [(change.at, change.object) for change in self._recorder.of(CNPG)]
        longest, since, last = 0.0, None, self._first
        for at, deployment in [(self._began, self._first), *seen, (time.monotonic(), None)]:
            if since is not None:
                longest = max(longest, at - since)
            last = deployment or last
            if last.get("status", {}).get("availableReplicas", 0):
                since = None
            elif since is None:
                since = at
        return longest


@dataclass
class Heartbeat:
    """Shows when CloudNativePG reconciles a Cluster: it recreates a deleted Service of it.

    An unreachable plugin of that Cluster, or a missing leader, stops that.
    """

    api: Api
    cluster: str
    interval: float = 0.5
    _recorder: Recorder = field(init=False)
    _began: float = field(init=False)
    _background: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._recorder = Recorder(self.api, collection("Service", "default"))

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._background.enter_context(self._recorder)
        self._background.enter_context(meanwhile(self._delete, self.interval))
        return self

    def __exit__(self, *_: object) -> None:
        self._background.close()

    @property
    def beats(self) -> list[float]:
        """When a Service of it was created (monotonic seconds)."""
        return [c.at for c in self._recorder.of(f"{self.cluster}-ro") if c.type == "ADDED"]

    def longest_pause(self) -> float:
        """The longest time without one, in seconds."""
        moments = [self._began, *self.beats, time.monotonic()]
        return max(latter - previous for previous, latter in pairwise(moments))

    def beating(self) -> bool:
        """Whether there was one within the last seconds."""
        return bool(self.beats) and time.monotonic() - self.beats[-1] < 2

    def _delete(self) -> None:
        with suppress(ApiError):
            self.api.delete(f"{collection('Service', 'default')}/{self.cluster}-ro")
