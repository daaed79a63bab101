from datetime import timedelta
from typing import Any

import pytest

from cnpg_plugin_operator.api.spec import Provider, RestartPolicy
from cnpg_plugin_operator.decide.leadership import LeaseTimes
from cnpg_plugin_operator.desired.protection import Pods
from cnpg_plugin_operator.errors import SettingsError
from cnpg_plugin_operator.settings import (
    FLAGS,
    PREFIX,
    Settings,
    read_settings,
)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()
    assert read_settings({"CNPGP_NAMESPACES": "", "CNPGP_DEFAULT_TLS_PROVIDER": ""}) == Settings()


def test_the_variables_of_the_chart_are_read() -> None:
    settings = read_settings(
        {
            "CNPGP_NAMESPACES": "one, two",
            "CNPGP_CLUSTER_NAMESPACES": "one,app",
            "CNPGP_DEFAULT_TLS_PROVIDER": "SelfManaged",
            "CNPGP_DEFAULT_RESTART_POLICY": "Never",
            "CNPGP_RESTART_COOLDOWN": "1h30m",
            "CNPGP_ALLOWED_ROLES": "a,b",
            "CNPGP_ALLOWED_ISSUERS": "ClusterIssuer.cert-manager.io/company-ca, *",
            "CNPGP_OPERATOR_PODS": "operators/app=a,tier=b",
            "CNPGP_LEASE": "operators/plugins",
            "CNPGP_LEASE_IDENTITY": "pod_uid",
            "CNPGP_LEASE_DURATION": "1m",
            "CNPGP_LOG_LEVEL": "debug",
            "CNPGP_LOG_FORMAT": "text",
            "CNPGP_HTTP_ADDRESS": "[::1]:9000",
        }
    )

    assert settings.namespaces == ("one", "two")
    assert settings.cluster_namespaces == ("one", "app")
    assert settings.tls_provider is Provider.SELF_MANAGED
    assert settings.restart_policy is RestartPolicy.NEVER
    assert settings.grants.issuers == {"ClusterIssuer.cert-manager.io/company-ca", "*"}
    assert settings.pace.cooldown == timedelta(minutes=90)
    assert settings.grants.roles == {"a", "b"}
    assert (settings.lease, settings.lease_identity) == (("operators", "plugins"), "pod_uid")
    assert settings.lease_times == LeaseTimes(duration=timedelta(minutes=1))
    assert (settings.log_level, settings.log_format) == ("debug", "text")
    assert settings.http_address == ("::1", 9000)
    assert settings.operator_pods == Pods("operators", {"app": "a", "tier": "b"})


def test_every_variable_has_a_flag_and_every_flag_a_variable() -> None:
    class Recording(dict[str, str]):
        def __init__(self) -> None:
            super().__init__()
            self.asked: set[str] = set()

        def get(self, key: str, default: Any = None) -> Any:
            self.asked.add(key)
            return default

    environment = Recording()
    read_settings(environment)
    assert {name for name in environment.asked if name.startswith(PREFIX)} == {
        f"{PREFIX}{name}" for name in FLAGS
    }


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        pytest.param(
            "CNPGP_DEFAULT_TLS_PROVIDER",
            "Secrets",
            "it can be: CertManager, SelfManaged",
            id="Secrets, which only a resource can name",
        ),
        pytest.param(
            "CNPGP_DEFAULT_TLS_PROVIDER",
            "Vault",
            "it can be: CertManager, SelfManaged",
            id="an unknown provider",
        ),
        pytest.param(
            "CNPGP_DEFAULT_RESTART_POLICY",
            "Maybe",
            "it can be: IfNeeded, Always, Never",
            id="an unknown policy",
        ),
        pytest.param(
            "CNPGP_ALLOWED_ISSUERS", "company-ca", "Kind.group/name", id="an issuer's name"
        ),
        pytest.param("CNPGP_DEFAULT_LABELS", "team", "key=value", id="a label without value"),
        pytest.param("CNPGP_DEFAULT_LABELS", "a=b,-=c", "'-=c' is no label", id="no label"),
        pytest.param("CNPGP_DEFAULT_LABELS", "cnpg.io/pluginName=a", "must not", id="CNPG's label"),
        pytest.param(
            "CNPGP_DEFAULT_LABELS", "cnpgplugin.dev/name=a", "must not", id="the operator's label"
        ),
        pytest.param("CNPGP_OPERATOR_PODS", "app=a", "namespace/label", id="pods of no namespace"),
        pytest.param("CNPGP_OPERATOR_PODS", "operators/", "namespace/label", id="all pods"),
        pytest.param("CNPGP_LEASE", "plugins", "namespace/name", id="a Lease of no namespace"),
        pytest.param("CNPGP_LOG_LEVEL", "loud", "it can be: debug", id="an unknown level"),
        pytest.param("CNPGP_RESTART_SETTLE", "10", "it ", id="a duration without unit"),
        pytest.param("CNPGP_HTTP_ADDRESS", ":99999", "[host]:port", id="a port out of range"),
    ],
)
def test_an_invalid_value_is_named_with_the_allowed_ones(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({name: value})

    message = str(caught.value)
    assert message.startswith(f"{name} is {value!r}; it")
    assert says in message
    assert message.count("Secrets") == (value == "Secrets")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LEASE_DURATION", "10m", "at most 300"),
        ("LEASE_DURATION", "15500ms", "whole seconds"),
        ("LEASE_DURATION", "10s", "shorter than the lease duration"),
        ("LEASE_RETRY_PERIOD", "6s", "at most half of the renew deadline"),
    ],
)
def test_times_that_two_leaders_could_come_of_are_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_settings({f"{PREFIX}{name}": value})
