"""Every place where a Pod or an issuer can name a Secret, place by place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.secret_places import find_secrets

SECRET = "loot"


def volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "v", **source}]}


def container(kind: str, **fields: Any) -> dict[str, Any]:
    return {kind: [{"name": "c", **fields}]}


VARIABLE = {"env": [{"name": "V", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "k"}}}]}
VARIABLES = {"envFrom": [{"prefix": "P_", "secretRef": {"name": SECRET}}]}
CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
VOLUMES: dict[str, dict[str, Any]] = {
    "secret": {"secret": {"secretName": SECRET}},
    "projected": {
        "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": SECRET}}]}
    },
    "csi": {"csi": {"driver": "d", "nodePublishSecretRef": {"name": SECRET}}},
    "attribute-of-a-csi-driver": {
        "csi": {"driver": "d", "volumeAttributes": {"secretName": SECRET}}
    },
    "annotated-csi-driver": {
        "csi": {"volumeAttributes": {"x.io/node-publish-secret-name": SECRET}}
    },
    "azure-file": {"azureFile": {"shareName": "s", "secretName": SECRET}},
    "rbd": {"rbd": {"image": "i", "secretRef": {"name": SECRET}}},
    "cephfs": {"cephfs": {"monitors": ["m"], "secretRef": {"name": SECRET}}},
    "iscsi": {"iscsi": {"iqn": "i", "chapAuthSession": True, "secretRef": {"name": SECRET}}},
    "flex": {"flexVolume": {"driver": "d", "secretRef": {"name": SECRET}}},
    "storageos": {"storageos": {"volumeName": "v", "secretRef": {"name": SECRET}}},
    "scale-io": {"scaleIO": {"gateway": "g", "secretRef": {"name": SECRET}}},
    "ephemeral": {
        "ephemeral": {
            "volumeClaimTemplate": {"spec": {"dataSourceRef": {"kind": "Secret", "name": SECRET}}}
        }
    },
}
ISSUERS: dict[str, dict[str, Any]] = {
    "ca": {"ca": {"secretName": SECRET}},
    "acme-account": {"acme": {"privateKeySecretRef": {"name": SECRET}}},
    "acme-binding": {"acme": {"externalAccountBinding": {"keySecretRef": {"name": SECRET}}}},
    "acme-solver": {
        "acme": {"solvers": [{"dns01": {"cloudflare": {"apiTokenSecretRef": {"name": SECRET}}}}]}
    },
    "vault-token": {"vault": {"auth": {"tokenSecretRef": {"name": SECRET}}}},
    "vault-role": {"vault": {"auth": {"appRole": {"secretRef": {"name": SECRET}}}}},
    "vault-kubernetes": {"vault": {"auth": {"kubernetes": {"secretRef": {"name": SECRET}}}}},
    "vault-client": {"vault": {"clientKeySecretRef": {"name": SECRET}}},
    "venafi": {"venafi": {"tpp": {"credentialsRef": {"name": SECRET}}}},
    "venafi-cloud": {"venafi": {"cloud": {"apiTokenSecretRef": {"name": SECRET}}}},
}

CONFIG_MAP = {"configMapRef": {"name": SECRET}}
TEXT = {"name": "SECRET", "value": SECRET}

PLACES = {
    **{f"volume-{name}": volume(**source) for name, source in VOLUMES.items()},
    **{f"variable-{kind}": container(kind, **VARIABLE) for kind in CONTAINERS},
    **{f"variables-{kind}": container(kind, **VARIABLES) for kind in CONTAINERS},
    **{f"issuer-{name}": spec for name, spec in ISSUERS.items()},
}


@pytest.mark.parametrize("part", PLACES.values(), ids=PLACES)
def test_a_secret_is_found_where_it_is_named(part: dict[str, Any]) -> None:
    assert {name for _, name in find_secrets(part)} == {SECRET}


def test_a_place_is_named_like_a_path_of_fields() -> None:
    pod = {**volume(**VOLUMES["secret"]), **container("containers", **VARIABLE)}
    assert [place for place, _ in find_secrets(pod)] == [
        "volumes[v].secret.secretName",
        "containers[c].env[V].valueFrom.secretKeyRef",
    ]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"imagePullSecrets": [{"name": SECRET}]}, id="pull secrets"),
        pytest.param(volume(configMap={"name": SECRET}), id="a ConfigMap"),
        pytest.param(container("containers", envFrom=[CONFIG_MAP]), id="its keys"),
        pytest.param({"serviceAccountName": SECRET}, id="an account"),
        pytest.param(container("containers", env=[TEXT]), id="a text"),
        pytest.param(volume(secret={"secretName": {"a": SECRET}}), id="a name that is no text"),
    ],
)  # fmt: skip
def test_nothing_else_counts_as_a_secret(part: dict[str, Any]) -> None:
    assert list(find_secrets(part)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["secret", "secretRef", "secretName", "name", "kind", "a"]), inner
        )
    ),
)


@given(JSON)
def test_any_content_is_searched(tree: object) -> None:
    assert "" not in {name for _, name in find_secrets(tree)}


def test_content_of_any_depth_is_searched() -> None:
    deep: Any = {"secretName": SECRET}
    for _ in range(5000):
        deep = [{"x": deep}]
    assert [name for _, name in find_secrets(deep)] == [SECRET]
