"""The report of the bench: what a terminal shows, what is saved, and the comparison of two runs."""

import json
from pathlib import Path

import pytest

from tests.bench import saved
from tests.bench.figures import BenchError, Figure, Outcome
from tests.bench.report import compare, render_json, render_text, to_json

ABOUT = ["began 2026-01-01 00:00 UTC"]


def outcome(*figures: Figure, size: str = "20 plugins", error: str = "") -> Outcome:
    return Outcome("quiet", size, 61.2, figures, ("a line",), error)


def cpu(value: float) -> Figure:
    return Figure("CPU", value, "%", 2.0, "said")


def test_the_report_shows_each_figure_beside_its_budget() -> None:
    found = outcome(cpu(0.5), Figure("RSS", 1234.4, "MB", 100), Figure("passes", 3, ""))

    assert render_text(ABOUT, [found]).splitlines() == [
        "began 2026-01-01 00:00 UTC",
        "",
        "quiet: 20 plugins (61 s)",
        "  CPU        0.5 %     of 2 %   0.25  ok      said",
        "  RSS     1,234 MB  of 100 MB  12.34  MISSED",
        "  passes         3",
        "    a line",
    ]


def test_the_report_says_what_could_not_be_measured() -> None:
    assert "  FAILED: no pass ran" in render_text([], [outcome(error="no pass ran")])


def test_a_saved_run_holds_every_figure(tmp_path: Path) -> None:
    run = to_json(ABOUT, [outcome(cpu(3), Figure("RSS", 90.5, "MB"))])
    saved.save(tmp_path / "new" / "run.json", run)

    loaded = saved.load(str(tmp_path / "new" / "run.json"))

    assert loaded == json.loads(render_json(run))
    [scenario] = loaded["scenarios"]
    assert scenario["figures"] == [
        {
            "name": "CPU",
            "value": 3,
            "unit": "%",
            "budget": 2.0,
            "ratio": 1.5,
            "ok": False,
            "detail": "said",
        },
        {
            "name": "RSS",
            "value": 90.5,
            "unit": "MB",
            "budget": None,
            "ratio": None,
            "ok": None,
            "detail": "",
        },
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", "no JSON"])
def test_what_is_no_saved_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)

    with pytest.raises(BenchError, match="is no saved run"):
        saved.load(str(path))


def test_the_last_run_is_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "DIRECTORY", tmp_path)
    for name in ("2026-01-02T000000", "2026-01-01T000000"):
        saved.save(tmp_path / f"{name}.json", to_json([name], []))

    assert saved.load(saved.LAST)["about"] == ["2026-01-02T000000"]


def test_without_a_saved_run_there_is_no_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "DIRECTORY", tmp_path)

    with pytest.raises(BenchError, match="no run is saved"):
        saved.load(saved.LAST)


def test_two_runs_are_compared_figure_by_figure() -> None:
    old = to_json(ABOUT, [outcome(cpu(4), Figure("writes", 0, "", 0))])
    new = to_json(
        [],
        [outcome(cpu(1), Figure("writes", 2, "", 0), Figure("RSS", 90, "MB"), size="20 plugins")],
    )

    assert compare(old, new).splitlines() == [
        "against the run that began 2026-01-01 00:00 UTC",
        "quiet: 20 plugins",
        "  CPU     4 %    → 1 %  0.25x  now ok",
        "  writes    0      → 2         now MISSED",
        "  RSS          → 90 MB         new",
    ]


def test_runs_of_different_sizes_are_not_compared_silently() -> None:
    old = to_json([], [outcome(cpu(4), size="3 plugins")])
    new = to_json([], [outcome(cpu(4))])

    assert "quiet: 3 plugins → 20 plugins (ANOTHER SIZE)" in compare(old, new)


def test_a_scenario_without_an_earlier_run_is_new() -> None:
    assert "new" in compare(to_json([], []), to_json([], [outcome(cpu(4))]))
