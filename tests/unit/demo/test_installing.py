"""The demo says what it waits for while the operator does not lead yet."""

import json

import pytest
import yaml

from tests.demo import installing
from tests.demo.installing import await_leader

POD = "operator-1"
CLAIMED = {"holderIdentity": f"{POD}_uid"}
LEADING = {**CLAIMED, "acquireTime": "2026-01-01T00:00:00.000000Z"}
OF_AN_OLD_POD = {**LEADING, "holderIdentity": "operator-0_uid"}


class Leases:
    """A cluster whose Lease says one thing after the other; None where there is no Lease."""

    def __init__(self, *specs: dict[str, str] | None) -> None:
        self.left = list(specs)

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        assert input is None
        if arguments[:2] == ("get", "pods"):
            return f"pod/{POD}\n"
        spec = self.left.pop(0)
        return json.dumps({"spec": spec}) if spec else ""

    def kubectl_argv(self, *arguments: str) -> list[str]:
        return ["kubectl", *arguments]


def test_it_says_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Leases(None, OF_AN_OLD_POD, CLAIMED, LEADING)
    await_leader(cluster)
    assert cluster.left == []
    assert "waiting until the operator leads (15 s at its first start" in capsys.readouterr().err


def test_an_operator_that_leads_is_not_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    await_leader(Leases(LEADING))
    assert capsys.readouterr().err == ""


def test_the_time_is_that_of_the_chart() -> None:
    values = yaml.safe_load((installing.CHART / "values.yaml").read_text())
    assert values["leaderElection"]["leaseDuration"] == f"{installing.FIRST_LEASE}s"
