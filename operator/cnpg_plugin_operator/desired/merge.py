"""The merge of `spec.podTemplate` into the generated pod template.

The rules are those of `kubectl patch` for the lists that matter in a Pod: named elements merge by
name, null removes a field, everything else replaces.
"""

from typing import Any, Final

from cnpg_plugin_operator.errors import InvalidSpecError

_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "hostAliases": "ip",
}
"""Lists of a Pod that merge, with the key that identifies an element (as in the Kubernetes API)."""


def merge(base: Any, overlay: Any, field: str = "") -> Any:  # noqa: ANN401 - JSON of any shape
    """Merge `overlay` into `base` and return the result; neither is changed."""
    if isinstance(base, dict) and isinstance(overlay, dict):
        merged = {key: value for key, value in base.items() if overlay.get(key, value) is not None}
        for key, value in overlay.items():
            if value is not None:
                merged[key] = merge(base.get(key), value, key)
        return merged
    key = _KEYS.get(field)
    if key is not None and isinstance(base, list) and isinstance(overlay, list):
        return _merge_named(base, overlay, key)
    return overlay


def _merge_named(base: list[Any], overlay: list[Any], key: str) -> list[Any]:
    """Merge lists of objects that `key` identifies; new ones follow in their order.

    Raises `InvalidSpecError` where the key is not a name.
    """
    for item in (*base, *overlay):
        if isinstance(item, dict) and isinstance(item.get(key), dict | list):
            raise InvalidSpecError(
                f"spec.podTemplate: {key} must be a name, not a list or an object"
            )
    patches = {item.get(key): item for item in overlay if isinstance(item, dict)}
    known = {item.get(key) for item in base}
    merged = [merge(item, patches.get(item.get(key), {})) for item in base]
    return merged + [item for name, item in patches.items() if name not in known]
