"""Rules are sped up in all their times and in nothing else."""

from tests.alerts.scaling import seconds, speed_up


def test_every_time_is_divided_and_nothing_else_changes() -> None:
    rule = {
        "alert": "Failing",
        "expr": 'increase(errors_total{name=~"a|b5m"}[15m]) > 8 and max_over_time(up[90s]) == 1',
        "for": "1h",
        "labels": {"severity": "warning"},
    }
    assert speed_up([rule], 10) == [
        {
            **rule,
            "expr": (
                'increase(errors_total{name=~"a|b5m"}[90000ms]) > 8 '
                "and max_over_time(up[9000ms]) == 1"
            ),
            "for": "360000ms",
        }
    ]


def test_a_recording_rule_has_no_time_of_its_own() -> None:
    rule = {"record": "name", "expr": "up"}
    assert speed_up([rule]) == [rule]


def test_the_time_of_an_alert_is_read_in_seconds() -> None:
    assert seconds({"for": "1500ms"}) == 1.5
