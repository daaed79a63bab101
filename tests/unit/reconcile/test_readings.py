"""What the tools make of each state was tried with each of them, and is what the page says.

Argo CD's health check, kstatus and `kubectl wait` are tried in `tests/integration`, Helm 4 by
`make helm-4`, and the alerts by `make alerts`.
"""

from pathlib import Path

from tests.support import outcomes
from tests.support.unit.stage import readings
from tests.support.unit.stage.readings import READINGS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "install" / "gitops.md"
WAITING = "test_helm_4_waits_as_the_state_says"


def test_helm_4_was_tried_with_each_state() -> None:
    recorded = outcomes.read(ROOT / "tests" / "helm")
    assert {recorded.get(f"{WAITING}[{reading}]") for reading in READINGS} == {"passed"}


def test_the_documentation_has_the_table_of_states() -> None:
    assert readings.page() in PAGE.read_text()
