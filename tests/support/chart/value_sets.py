"""Every set of values that the project has, by what it is for: the chart is rendered with each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from config.olm import bundle
from tests.support.chart.rendering import ROOT, Values

DIGEST: Final = "sha256:" + "0123456789abcdef" * 4

EVERYTHING: Final[dict[str, Any]] = {
    "global": {"imageRegistry": "mirror.example.com", "imagePullSecrets": ["shared"]},
    "image": {"tag": "1.2.3", "digest": DIGEST, "pullPolicy": "Always"},
    "imagePullSecrets": ["own", {"name": "shared"}],
    "commonLabels": {"example.com/team": "databases"},
    "commonAnnotations": {"example.com/contact": "databases"},
    "serviceAccount": {"name": "runner", "annotations": {"example.com/identity": "runner"}},
    "replicaCount": 2,
    "leaderElection": {"leaseDuration": "1m", "renewDeadline": "40s", "retryPeriod": "5s"},
    "cnpg": {"namespaces": ["cnpg-system", "databases"]},
    "defaults": {
        "tlsProvider": "SelfManaged",
        "labels": {"example.com/team": "databases", "cost-centre": "17"},
        "restartPolicy": "Never",
    },
    "restart": {"settle": "1s", "settleMax": "2s", "cooldown": "1h30m"},
    "clusterRefresh": {"allowed": True},
    "takeOver": {"allowed": False},
    "sidecars": {"allowed": False, "deadline": "30s"},
    "clusterDomain": "example.internal",
    "allowedClusterRoles": ["barman-cloud", "system:example"],
    "allowedRoles": ["barman-cloud"],
    "allowedServiceAccounts": ["backup", "archive"],
    "allowedIssuers": [
        {"name": "company-ca", "kind": "ClusterIssuer"},
        {"name": "pca", "kind": "AWSPCAIssuer", "group": "awspca.cert-manager.io"},
    ],
    "log": {"level": "debug", "format": "text"},
    "extraArgs": ["--log-level=warning", "--restart-cooldown", "2h"],
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "deploymentAnnotations": {"example.com/deployment": "yes"},
    "podAnnotations": {"example.com/pod": "yes"},
    "podLabels": {"example.com/pod": "yes", "app.kubernetes.io/instance": "ignored"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "system-cluster-critical",
    "resources": {"limits": {"memory": "256Mi"}},
    "metrics": {
        "service": {"port": 9100, "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "serviceMonitor": {
            "enabled": True,
            "interval": "30s",
            "scrapeTimeout": "10s",
            "labels": {"release": "prometheus"},
            "annotations": {"e": "f"},
            "honorLabels": False,
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "drop", "regex": "python_.*"}],
        },
        "podMonitor": {"enabled": True, "interval": "1m"},
        "prometheusRule": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "annotations": {"g": "h"},
            "additionalRuleLabels": {"team": "databases", "severity": "page"},
            "disabled": ["CNPGPluginStaleWatch"],
            "runbookUrlTemplate": "https://runbooks.example.org/{alert}.html",
        },
        "dashboard": {
            "enabled": True,
            "namespace": "grafana",
            "annotations": {"grafana_folder": "CNPG"},
        },
    },
    "networkPolicy": {
        "enabled": True,
        "ingressFrom": [{"namespaceSelector": {}}],
        "egress": [{"to": [{"podSelector": {}}]}],
    },
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "extra-{{ .Release.Name }}"},
        },
        "apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}-text'}",
    ],
}

_HELLO: Final[dict[str, Any]] = {"pluginName": "hello.example.org", "image": "example.org/hello:1"}

MATRIX: Final[dict[str, Values]] = {
    "the defaults": {},
    "everything switched on": EVERYTHING,
    "everything optional switched off": {
        "crds": {"create": False},
        "rbac": {"create": False},
        "serviceAccount": {"create": False},
        "metrics": {"service": {"enabled": False}},
    },
    "several operators": {"replicaCount": 3},
    "no leader election": {"leaderElection": {"enabled": False}},
    "a CRD that goes with the chart": {"crds": {"keep": False}},
    "an image by digest": {"image": {"digest": DIGEST}},
    "an image without registry": {"image": {"registry": "", "repository": "operator"}},
    "CloudNativePG of OLM": {"cnpg": {"olm": True}},
    "several namespaces": {"cnpg": {"namespaces": ["one", "two", "three"]}},
    "no aggregated roles": {"rbac": {"aggregateClusterRoles": False}},
    "roles that plugins may be given": {"allowedClusterRoles": ["a"], "allowedRoles": ["b"]},
    "an existing account": {"serviceAccount": {"create": False, "name": "mine"}},
    "another user": {"podSecurityContext": {"runAsUser": 1000, "runAsGroup": 1000}},
    "platform chosen user": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
    "another full name": {"fullnameOverride": "plugins"},
    "another name": {"nameOverride": "plugins"},
    "a pod monitor without Service": {
        "metrics": {"service": {"enabled": False}, "podMonitor": {"enabled": True}}
    },
    "a network policy for everybody": {"networkPolicy": {"enabled": True}},
    "metrics only for some": {
        "metrics": {
            "secure": {
                "enabled": True,
                "issuerRef": {"name": "company"},
                "tokenSecret": {"name": "prometheus"},
            },
            "serviceMonitor": {"enabled": True},
            "podMonitor": {"enabled": True},
        },
        "networkPolicy": {"enabled": True},
    },
    "no rights beyond single namespaces": {
        "rbac": {"clusterWide": False, "clusterNamespaces": ["app"]},
        "clusterRefresh": {"allowed": True},
    },
    "plugins, one of them a sidecar": {
        "cnpg": {"namespaces": ["one", "two"]},
        "plugins": [
            {"name": "hello", "namespace": "two", "spec": _HELLO},
            {
                "name": "beside",
                "spec": {**_HELLO, "pluginName": "b.example.org", "mode": "Sidecar"},
            },
        ],
    },
    "as a dependency of another chart": {"enabled": True, "global": {"anything": {"goes": 1}}},
}
"""Sets of values by what they are about."""


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
