"""Helm 4 renders with every set of values what Helm 3 renders, and the API server accepts it."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.cluster import Cluster, builds
from tests.integration.test_chart_objects import namespaces, try_to_apply
from tests.support.chart.rendering import (
    NAMESPACE,
    Manifest,
    RenderError,
    Values,
    lint,
    parse,
    render_text,
)
from tests.support.chart.value_sets import VALUE_SETS
from tests.support.e2e.api import Api
from tests.unit.chart.test_values_schema import REFUSED

THERE: Final = {"cnpg-system", "default"}
"""The namespaces that the cluster has."""

EACH: Final = pytest.mark.parametrize("name", VALUE_SETS)


def rendered(name: str) -> list[Manifest]:
    """What Helm 4 renders with a set of values."""
    return parse(render_text(VALUE_SETS[name], helm=builds.HELM_4))


@pytest.fixture(scope="module")
def prepared(api: Api) -> Iterator[Api]:
    """The API server with the namespaces that the values name."""
    objects = [each for name in VALUE_SETS for each in rendered(name)]
    named = {each["metadata"].get("namespace", NAMESPACE) for each in objects}
    with namespaces(api, named - THERE):
        yield api


@EACH
def test_helm_4_renders_what_helm_3_renders(name: str) -> None:
    three = render_text(VALUE_SETS[name])
    four = render_text(VALUE_SETS[name], helm=builds.HELM_4)
    assert parse(four) == parse(three)
    # Helm 4 keeps the white space at the end of a document, which Helm 3 removes.
    assert _lines(four) == _lines(three)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@EACH
@pytest.mark.parametrize("helm", [builds.HELM, builds.HELM_4], ids=lambda helm: helm.name)
def test_helm_finds_nothing_to_improve(name: str, helm: builds.Program) -> None:
    assert "0 chart(s) failed" in lint(VALUE_SETS[name], helm=helm)


@pytest.mark.parametrize(("values", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_helm_4_names_refused_values(values: Values, named: str) -> None:
    with pytest.raises(RenderError) as refusal:
        render_text(values, helm=builds.HELM_4)
    assert "values don't meet the specifications of the schema" in str(refusal.value)
    assert named in str(refusal.value)


@EACH
def test_the_api_server_accepts_what_helm_4_renders(
    cluster: Cluster, prepared: Api, name: str
) -> None:
    try_to_apply(prepared, rendered(name))
