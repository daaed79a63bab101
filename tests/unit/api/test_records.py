"""The record of a sidecar in the status is read as it was written."""

from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.records import (
    Quarantine,
    SidecarRecord,
    build_sidecar_record,
    read_sidecar_record,
)
from tests.support.unit.builders import NOW


@pytest.mark.parametrize(
    "times", [pytest.param(0, id="with others"), pytest.param(1, id="alone"), 7]
)
def test_a_record_is_read_as_it_was_written(times: int) -> None:
    quarantine = Quarantine(
        "r1", Reason.CNPG_BLOCKED, "Container manager keeps exiting.", NOW, times
    )
    record = SidecarRecord(
        generation=3, revision="r1", present=False, reverts=2, quarantine=quarantine
    )

    assert read_sidecar_record({"sidecar": build_sidecar_record(record)}) == record


@pytest.mark.parametrize("times", [None, "many", -1, True, 2**40])
def test_an_invalid_count_counts_as_the_first_time(times: Any) -> None:
    quarantine = {
        "revision": "r1",
        "reason": "CrashLoop",
        "time": "2026-03-01T12:00:00Z",
        "attempts": times,
    }
    found = read_sidecar_record({"sidecar": {"quarantine": quarantine}}).quarantine

    assert found is not None
    assert found.attempts == 1
