from datetime import timedelta

import pytest

from cnpg_plugin_operator.api.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("5s", 5, id="seconds"),
        pytest.param("10m", 600, id="minutes"),
        pytest.param("2160h", 7776000, id="hours"),
        pytest.param("1h30m", 5400, id="several units"),
        pytest.param("1.5h", 5400, id="a fraction"),
        pytest.param("250ms", 0.25, id="milliseconds"),
    ],
)
def test_durations_are_parsed_as_in_go(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "-5s", "5 s", "s", "1d", "abc", None, 5, [], "9" * 30 + "h"]
)
def test_invalid_durations_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["2160h0m0s", "0h5m0s", "1h2m3s"])
def test_durations_are_written_as_cert_manager_does(text: str) -> None:
    assert format_duration(parse_duration(text)) == text
