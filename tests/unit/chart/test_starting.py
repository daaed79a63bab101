"""The operator starts with the rendered arguments and variables: the program itself reads them."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from cnpg_plugin_operator.__main__ import main
from cnpg_plugin_operator.commands import run
from cnpg_plugin_operator.settings import FLAGS, Settings
from tests.support.chart.rendering import Values, container, environment, render
from tests.support.chart.value_sets import EVERYTHING, MATRIX


def start(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], variables: Mapping[str, str]
) -> Settings:
    """The settings with which the program would run."""
    started: list[Settings] = []

    async def record(settings: Settings) -> None:
        started.append(settings)

    with monkeypatch.context() as patch:
        patch.setattr(run, "run", record)
        for name, value in variables.items():
            patch.setenv(name, value)
        assert main(arguments) == 0
    [settings] = started
    return settings


def start_rendered(monkeypatch: pytest.MonkeyPatch, values: Values) -> Settings:
    """The settings with which the rendered container would run."""
    rendered = render(values)
    return start(monkeypatch, container(rendered)["args"], environment(rendered))


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_the_operator_starts_with_every_rendered_configuration(
    monkeypatch: pytest.MonkeyPatch, values: Values
) -> None:
    namespaces: list[str] = values.get("cnpg", {}).get("namespaces", ["cnpg-system"])
    assert start_rendered(monkeypatch, values).namespaces == tuple(namespaces)


def test_a_flag_in_extra_args_wins_over_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = start_rendered(monkeypatch, EVERYTHING)
    assert settings.log_level == "warning"
    assert settings.labels == {"example.com/team": "databases", "cost-centre": "17"}
    assert settings.pace.cooldown == timedelta(hours=2)
    assert settings.pace.settle == timedelta(seconds=1), "what no flag names is as the value says"


FLAG_VALUES: dict[str, str] = {
    "DEFAULT_TLS_PROVIDER": "SelfManaged",
    "DEFAULT_LABELS": "team=databases",
    "DEFAULT_RESTART_POLICY": "Always",
    "RESTART_SETTLE": "3s",
    "RESTART_SETTLE_MAX": "4s",
    "RESTART_COOLDOWN": "5s",
    "ALLOWED_ISSUERS": "ClusterIssuer.cert-manager.io/company",
    "CLUSTER_REFRESH": "true",
    "TAKE_OVERS": "false",
    "SIDECARS": "false",
    "SIDECAR_GATE_PULL_POLICY": "Always",
    "SIDECAR_DEADLINE": "7s",
    "OPERATOR_PODS": "operators/app=other",
    "LEASE": "operators/other",
    "LEASE_DURATION": "16s",
    "LEASE_RENEW_DEADLINE": "9s",
    "LEASE_RETRY_PERIOD": "1s",
    "LOG_LEVEL": "debug",
    "LOG_FORMAT": "text",
    "HTTP_ADDRESS": ":9090",
    "METRICS_ADDRESS": ":9443",
}
"""A value of its own for each flag that does not take any text."""


@pytest.mark.parametrize("name", FLAGS)
def test_each_flag_sets_what_its_variable_sets(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    value = FLAG_VALUES.get(name, "other")
    flag = f"--{name.lower().replace('_', '-')}={value}"
    by_flag = start(monkeypatch, ["run", flag], {})
    assert by_flag == start(monkeypatch, ["run"], {f"CNPGP_{name}": value})
    assert by_flag != start(monkeypatch, ["run"], {})


@pytest.mark.parametrize("words", [["--dry-run"], ["surprise"], ["--log-level"]])
def test_an_unknown_argument_is_named(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", *words])
    assert end.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_the_help_names_each_flag_with_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "--help"])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for name, about in FLAGS.items():
        assert f"--{name.lower().replace('_', '-')} VALUE {about} (CNPGP_{name})" in said
