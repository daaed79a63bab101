"""Whether a live object still matches what was applied, without a request to the API server.

A server-side apply that changes nothing is still a write request. Comparing first lets a pass
without changes write nothing. The digest detects fields that are no longer wanted, the comparison
detects changes by others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.desired.objects import Object, read_stamp
from cnpg_plugin_operator.desired.quantities import read_quantity

_LIST_KEYS: Final = ("mountPath", "containerPort", "name", "port", "uid", "path", "key")
"""Keys that identify an element of a list, in the order in which they are tried."""

_SHARED_LISTS: Final = frozenset(
    {
        "containers",
        "env",
        "hostAliases",
        "imagePullSecrets",
        "initContainers",
        "ownerReferences",
        "ports",
        "topologySpreadConstraints",
        "volumeMounts",
        "volumes",
    }
)
"""Lists of the API whose elements may belong to several managers (`x-kubernetes-list-type: map`).
All others are atomic: another element changes the whole list."""

_WHOLE_MAPS: Final = frozenset({"matchLabels", "nodeSelector", "selector"})
"""Maps of the API that are atomic, at least in selectors."""

_QUANTITIES: Final = frozenset({"divisor", "limits", "requests", "sizeLimit"})
"""Fields with a quantity, or a map of quantities."""


_ZEROS: Final[Mapping[str, int | None]] = {
    "failureThreshold": 3,
    "hostPort": None,
    "initialDelaySeconds": None,
    "minReadySeconds": None,
    "periodSeconds": 10,
    "successThreshold": 1,
    "timeoutSeconds": 1,
}
"""Numbers of the API for which 0 means absent, and what the API server shows then. It keeps all
other zeros."""


def find_drift(desired: Object, live: Mapping[str, Any] | None) -> str | None:
    """Return the first field in which the live object differs from the desired one, or None.

    Fields that the desired object does not set belong to others and are ignored.
    """
    if live is None:
        return "missing"
    if read_stamp(live) != read_stamp(desired):
        return f"metadata.annotations.{names.annotations.DESIRED}"
    return first_difference(desired, live)


def first_difference(wanted: Any, live: Any) -> str | None:  # noqa: ANN401 - JSON
    """Return the path of the first wanted field that the live value lacks, or None."""
    return next((each.path for each in find_differences(wanted, live)), None)


@dataclass(frozen=True, slots=True)
class Difference:
    """One wanted field that the live value lacks."""

    path: str
    wanted: Any
    live: Any


def find_differences(wanted: Any, live: Any, path: str = "") -> Iterator[Difference]:  # noqa: ANN401
    """Find the wanted fields that the live value lacks, in the order of the wanted value."""
    if wanted == live or (_is_empty(wanted) and _is_empty(live)):
        return
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        if _field(path) in _WHOLE_MAPS and not live.keys() <= wanted.keys():
            surplus = min(live.keys() - wanted.keys())
            yield Difference(f"{path}.{surplus}", None, live[surplus])
        for key, value in wanted.items():
            yield from find_differences(value, live.get(key), f"{path}.{key}")
    elif isinstance(wanted, list | tuple) and isinstance(live, list):
        if len(live) < len(wanted) or (len(live) > len(wanted) and not _is_shared(path)):
            yield Difference(path, wanted, live)
        else:
            for index, value in enumerate(wanted):
                other = _counterpart(value, index, live)
                yield from find_differences(value, other, f"{path}[{index}]")
    elif not _same_scalar(wanted, live, path):
        yield Difference(path, wanted, live)


def _is_shared(path: str) -> bool:
    """Whether several managers may have elements in a list: not in a NetworkPolicy's rules."""
    return _field(path) in _SHARED_LISTS and ".ingress[" not in path


def _field(path: str) -> str:
    """Return the last field of a path."""
    return path.rpartition(".")[2]


def _counterpart(wanted: Any, index: int, live: list[Any]) -> Any:  # noqa: ANN401 - any JSON
    """Find the live element that corresponds to the wanted one: by key, else by position."""
    if isinstance(wanted, Mapping):
        key = next((key for key in _LIST_KEYS if key in wanted), None)
        if key is not None:
            return next((item for item in live if item.get(key) == wanted[key]), None)
    return live[index]


def _is_empty(value: object) -> bool:
    """Whether the API server drops the value from optional fields."""
    return not value and (value is False or not isinstance(value, int | float))


def _same_scalar(wanted: object, live: object, path: str) -> bool:
    """Compare scalars as the API server normalizes them: it returns a CPU of `1000m` as `1`."""
    if wanted == 0 and _field(path) in _ZEROS:
        return live == _ZEROS[_field(path)]
    if _QUANTITIES.isdisjoint(path.split(".")[-2:]):
        return False
    first, second = read_quantity(wanted), read_quantity(live)
    return first is not None and first == second
