"""Every set of values that the project has, by what it is for: the chart is rendered with each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from config.olm import bundle
from tests.unit.chart.rendering import ROOT, Values
from tests.unit.chart.test_rendering import MATRIX


def _read(file: Path) -> Mapping[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


VALUE_SETS: Final[Mapping[str, Values]] = {
    **MATRIX,
    **{
        f"the plugin {file.parent.name}": _read(file)
        for file in sorted((ROOT / "config" / "plugins").glob("*/values.yaml"))
    },
    "a user of a release": _read(ROOT / "tests" / "release" / "values.yaml"),
    "the bundle for OLM": bundle.VALUES,
}
