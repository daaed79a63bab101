from copy import deepcopy
from typing import Any

import pytest

from cnpg_plugin_operator.desired.merge import merge

CONTAINER = {"name": "plugin", "image": "a", "env": [{"name": "A", "value": "1"}]}
BASE = {"spec": {"containers": [CONTAINER], "nodeSelector": {"a": "b"}}}


def merged(**spec: Any) -> Any:
    return merge(BASE, {"spec": spec})["spec"]


@pytest.mark.parametrize(
    ("overlay", "field", "expected"),
    [
        pytest.param({}, "containers", [CONTAINER], id="nothing to merge"),
        pytest.param(
            {"containers": [{"name": "plugin", "image": "b"}]}, "containers",
            [{**CONTAINER, "image": "b"}], id="a container by its name",
        ),
        pytest.param(
            {"containers": [{"name": "proxy"}]}, "containers", [CONTAINER, {"name": "proxy"}],
            id="a further container",
        ),
        pytest.param(
            {"containers": [{"name": "plugin", "env": [{"name": "A", "value": "2"}]}]},
            "containers", [{**CONTAINER, "env": [{"name": "A", "value": "2"}]}],
            id="a variable by its name",
        ),
        pytest.param({"nodeSelector": None}, "nodeSelector", None, id="a field taken away"),
        pytest.param({"hostname": "x"}, "hostname", "x", id="a field added"),
    ],
)  # fmt: skip
def test_the_template_is_merged_as_kubectl_patches(
    overlay: dict[str, Any], field: str, expected: Any
) -> None:
    assert merged(**overlay).get(field) == expected


def test_neither_side_is_changed() -> None:
    base, overlay = deepcopy(BASE), {"spec": {"containers": [{"name": "plugin", "tty": True}]}}
    merge(base, overlay)

    assert base == BASE
