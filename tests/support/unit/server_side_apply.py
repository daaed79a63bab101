"""Server-side apply of a part of an object, as the API server does it for several managers.

What a manager applied before and no longer applies is removed, unless another manager created it.
Lists of objects merge by their key, in the order of what is applied (structured-merge-diff 4.4).
"""

from copy import deepcopy
from typing import Any

_KEYS = ("mountPath", "containerPort", "name")


def apply_part(live: dict[str, Any], before: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Remove what was applied before and is no longer desired; then merge what is."""
    _remove(live, before, wanted)
    _merge(live, wanted)


def _merge(live: dict[str, Any], wanted: dict[str, Any]) -> None:
    for field, value in wanted.items():
        known = live.get(field)
        if isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value)
        elif _is_keyed(value) and isinstance(known, list):
            _merge_list(known, value)
        else:
            live[field] = deepcopy(value)


def _merge_list(live: list[Any], wanted: list[dict[str, Any]]) -> None:
    merged = []
    for item in wanted:
        found = _find(live, item)
        merged.append(found if found is not None else deepcopy(item))
        if found is not None:
            live.remove(found)
            _merge(found, item)
    live += merged


def _remove(live: dict[str, Any], before: dict[str, Any], wanted: dict[str, Any]) -> None:
    for field, value in before.items():
        known, still = live.get(field), wanted.get(field)
        if isinstance(value, dict) and isinstance(known, dict):
            _remove(known, value, still or {})
        elif _is_keyed(value) and isinstance(known, list):
            _remove_items(known, value, still or [])
        elif still is None:
            live.pop(field, None)
        if field in live and live[field] in ({}, []) and still is None:
            del live[field]


def _remove_items(
    live: list[Any], before: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    for item in before:
        found, still = _find(live, item), _find(wanted, item)
        if found is None:
            continue
        # Its creator also set its image, or the type of the volume.
        foreign = "image" in found and "image" not in item
        if still is None and not foreign:
            live.remove(found)
        else:
            kept = still if still is not None else {"name": item.get("name")}
            _remove(found, item, kept)


def _find(items: list[Any], like: dict[str, Any]) -> dict[str, Any] | None:
    key = _key(like)
    return next((item for item in items if item.get(key) == like[key]), None)


def _key(item: dict[str, Any]) -> str:
    return next(key for key in _KEYS if key in item)


def _is_keyed(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and any(key in item for key in _KEYS) for item in value)
    )
