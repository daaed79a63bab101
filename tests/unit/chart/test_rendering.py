"""What the chart renders from its values."""

import shutil
from pathlib import Path

import pytest

from cnpg_plugin_operator.settings import read_settings
from tests.support.chart.rendering import (
    CHART,
    FULLNAME,
    NAMESPACE,
    RELEASE,
    REPOSITORY,
    VERSION,
    Manifest,
    RenderError,
    Values,
    container,
    environment,
    lint,
    of_kind,
    one,
    parse,
    render,
    render_text,
)
from tests.support.chart.value_sets import DIGEST, EVERYTHING, MATRIX


@pytest.fixture(params=list(MATRIX.values()), ids=list(MATRIX))
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    values: Values = request.param
    return render(values)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["the defaults", "everything"])
def test_helm_finds_nothing_to_improve(values: Values) -> None:
    assert "0 chart(s) failed" in lint(values)


def test_no_two_objects_have_the_same_name(objects: list[Manifest]) -> None:
    seen = [
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in objects
    ]
    assert len(seen) == len(set(seen))


def test_every_object_has_the_recommended_labels(objects: list[Manifest]) -> None:
    for item in objects:
        if item["metadata"]["name"] in (f"extra-{RELEASE}", f"{RELEASE}-text"):
            continue
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == RELEASE
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/part-of"] == "cnpg-plugin-operator"
        assert labels["helm.sh/chart"] == f"cnpg-plugin-operator-{VERSION}"


def test_every_pod_satisfies_the_restricted_level(objects: list[Manifest]) -> None:
    operator = one(objects, "Deployment")["spec"]["template"]["spec"]
    for pod in (operator, *(item["spec"] for item in of_kind(objects, "Pod"))):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(volume.keys() == {"name", "secret"} for volume in pod.get("volumes", []))
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["securityContext"].get("runAsUser", 1) != 0
        for each in pod["containers"]:
            settings = each["securityContext"]
            assert settings["allowPrivilegeEscalation"] is False
            assert settings["readOnlyRootFilesystem"] is True
            assert settings["capabilities"] == {"drop": ["ALL"]}
            assert not settings.get("privileged", False)


def test_a_single_operator_ends_before_the_next_one_starts() -> None:
    spec = one(render(), "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert "topologySpreadConstraints" not in spec["template"]["spec"]
    assert of_kind(render(), "PodDisruptionBudget") == []


def test_several_operators_are_replaced_one_by_one_and_spread_over_nodes() -> None:
    objects = render({"replicaCount": 3})
    spec = one(objects, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (3, {"type": "RollingUpdate"})
    [spread] = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == spec["selector"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway", "two operators may share one node"
    budget = one(objects, "PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": spec["selector"]}


def test_own_spread_constraints_replace_those_of_the_chart() -> None:
    pod = one(render(EVERYTHING), "Deployment")["spec"]["template"]["spec"]
    assert pod["topologySpreadConstraints"] == EVERYTHING["topologySpreadConstraints"]


def test_several_operators_need_leader_election() -> None:
    with pytest.raises(RenderError, match="Enable leader election"):
        render({"replicaCount": 2, "leaderElection": {"enabled": False}})


def test_without_leader_election_the_operator_gets_no_lease() -> None:
    objects = render({"leaderElection": {"enabled": False}})
    assert not [name for name in environment(objects) if name.startswith("CNPGP_LEASE")]
    assert f"{FULLNAME}-leader-election" not in {
        role["metadata"]["name"] for role in of_kind(objects, "Role")
    }


def test_each_pod_has_an_identity_of_its_own_which_its_restarted_container_keeps() -> None:
    variables = {item["name"]: item for item in container(render())["env"]}
    fields = {
        name: variables[name]["valueFrom"]["fieldRef"]["fieldPath"]
        for name in ("POD_NAME", "POD_UID")
    }
    assert fields == {"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"}
    assert variables["CNPGP_LEASE_IDENTITY"]["value"] == "$(POD_NAME)_$(POD_UID)"
    names = [item["name"] for item in container(render())["env"]]
    assert names.index("POD_UID") < names.index("CNPGP_LEASE_IDENTITY"), "else it is not expanded"


def test_the_deployment_selects_its_own_pods(objects: list[Manifest]) -> None:
    spec = one(objects, "Deployment")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    for service in of_kind(objects, "Service"):
        assert service["spec"]["selector"].items() <= labels.items()
    for kind in ("ServiceMonitor", "PodMonitor"):
        for monitor in of_kind(objects, kind):
            assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_pod_runs_under_the_account_that_the_bindings_name(objects: list[Manifest]) -> None:
    account = one(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    objects = [item for item in objects if "helm.sh/hook" not in str(item["metadata"])]
    for binding in of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding"):
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
        ]
    for made in of_kind(objects, "ServiceAccount"):
        assert made["metadata"]["name"] == account
        assert made["metadata"]["namespace"] == NAMESPACE


def test_nothing_is_named_like_a_part_of_cloudnative_pg(objects: list[Manifest]) -> None:
    for item in objects:
        assert item["metadata"].get("labels", {}).get("app.kubernetes.io/name") != "cloudnative-pg"
        assert not any(key.startswith("cnpg.io/") for key in item["metadata"].get("labels", {}))


def test_the_container_is_probed_over_http() -> None:
    each = container(render())
    assert each["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    assert each["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert each["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert each["args"] == ["run"]
    assert each["resources"] == {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"memory": "192Mi"},
    }


def test_the_pod_runs_as_a_numeric_user() -> None:
    settings = one(render(), "Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert (settings["runAsUser"], settings["runAsGroup"]) == (65532, 65532)


OWN_PODS = (
    "operators/app.kubernetes.io/instance=release,app.kubernetes.io/name=cnpg-plugin-operator"
)


def test_the_operator_knows_its_own_pods() -> None:
    rendered = render()
    pods = read_settings(environment(rendered)).operator_pods
    deployment = one(rendered, "Deployment")

    assert pods is not None
    assert pods.namespace == deployment["metadata"]["namespace"]
    assert pods.labels == deployment["spec"]["selector"]["matchLabels"]


def test_the_settings_reach_the_operator_by_default() -> None:
    assert environment(render()) == {
        "CNPGP_NAMESPACES": "cnpg-system",
        "CNPGP_DEFAULT_TLS_PROVIDER": "CertManager",
        "CNPGP_DEFAULT_LABELS": "",
        "CNPGP_DEFAULT_RESTART_POLICY": "IfNeeded",
        "CNPGP_RESTART_SETTLE": "10s",
        "CNPGP_RESTART_SETTLE_MAX": "60s",
        "CNPGP_RESTART_COOLDOWN": "5m",
        "CNPGP_CLUSTER_REFRESH": "false",
        "CNPGP_TAKE_OVERS": "true",
        "CNPGP_SIDECARS": "true",
        "CNPGP_SIDECAR_DEADLINE": "60s",
        "CNPGP_SIDECAR_GATE_IMAGE": container(render())["image"],
        "CNPGP_SIDECAR_GATE_PULL_POLICY": "IfNotPresent",
        "CNPGP_SIDECAR_GATE_PULL_SECRETS": "",
        "CNPGP_CLUSTER_DOMAIN": "cluster.local",
        "CNPGP_ALLOWED_CLUSTER_ROLES": "",
        "CNPGP_CLUSTER_ROLE_GRANT_PREFIX": "operators:release-cnpg-plugin-operator-allows-",
        "CNPGP_ALLOWED_ROLES": "",
        "CNPGP_ALLOWED_SERVICE_ACCOUNTS": "",
        "CNPGP_ALLOWED_ISSUERS": "",
        "CNPGP_OPERATOR_PODS": OWN_PODS,
        "CNPGP_LEASE": f"{NAMESPACE}/{FULLNAME}",
        "CNPGP_LEASE_IDENTITY": "$(POD_NAME)_$(POD_UID)",
        "CNPGP_LEASE_DURATION": "15s",
        "CNPGP_LEASE_RENEW_DEADLINE": "10s",
        "CNPGP_LEASE_RETRY_PERIOD": "2s",
        "CNPGP_LOG_LEVEL": "info",
        "CNPGP_LOG_FORMAT": "json",
        "CNPGP_HTTP_ADDRESS": ":8080",
    }


def test_the_settings_reach_the_operator_when_changed() -> None:
    rendered = render(EVERYTHING)
    assert environment(rendered) == {
        "CNPGP_NAMESPACES": "cnpg-system,databases",
        "CNPGP_DEFAULT_TLS_PROVIDER": "SelfManaged",
        "CNPGP_DEFAULT_LABELS": "cost-centre=17,example.com/team=databases",
        "CNPGP_DEFAULT_RESTART_POLICY": "Never",
        "CNPGP_RESTART_SETTLE": "1s",
        "CNPGP_RESTART_SETTLE_MAX": "2s",
        "CNPGP_RESTART_COOLDOWN": "1h30m",
        "CNPGP_CLUSTER_REFRESH": "true",
        "CNPGP_TAKE_OVERS": "false",
        "CNPGP_SIDECARS": "false",
        "CNPGP_SIDECAR_DEADLINE": "30s",
        "CNPGP_SIDECAR_GATE_IMAGE": container(rendered)["image"],
        "CNPGP_SIDECAR_GATE_PULL_POLICY": "Always",
        "CNPGP_SIDECAR_GATE_PULL_SECRETS": "shared,own",
        "CNPGP_CLUSTER_DOMAIN": "example.internal",
        "CNPGP_ALLOWED_CLUSTER_ROLES": "barman-cloud,system:example",
        "CNPGP_CLUSTER_ROLE_GRANT_PREFIX": "operators:release-cnpg-plugin-operator-allows-",
        "CNPGP_ALLOWED_ROLES": "barman-cloud",
        "CNPGP_ALLOWED_SERVICE_ACCOUNTS": "backup,archive",
        "CNPGP_ALLOWED_ISSUERS": (
            "ClusterIssuer.cert-manager.io/company-ca,AWSPCAIssuer.awspca.cert-manager.io/pca"
        ),
        "CNPGP_OPERATOR_PODS": OWN_PODS,
        "CNPGP_LEASE": f"{NAMESPACE}/{FULLNAME}",
        "CNPGP_LEASE_IDENTITY": "$(POD_NAME)_$(POD_UID)",
        "CNPGP_LEASE_DURATION": "1m",
        "CNPGP_LEASE_RENEW_DEADLINE": "40s",
        "CNPGP_LEASE_RETRY_PERIOD": "5s",
        "CNPGP_LOG_LEVEL": "debug",
        "CNPGP_LOG_FORMAT": "text",
        "CNPGP_HTTP_ADDRESS": ":8080",
        "TZ": "UTC",
    }
    assert container(rendered)["args"] == ["run", *EVERYTHING["extraArgs"]]


def test_an_asterisk_grants_all_issuers() -> None:
    assert environment(render({"allowedIssuers": "*"}))["CNPGP_ALLOWED_ISSUERS"] == "*"


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param(
            {},
            f"{REPOSITORY}:{VERSION}",
            id="the tag defaults to the version of the application",
        ),
        pytest.param(
            {"image": {"tag": "edge"}},
            f"{REPOSITORY}:edge",
            id="a tag is taken as it is",
        ),
        pytest.param(
            {"image": {"tag": "edge", "digest": DIGEST}},
            f"{REPOSITORY}:edge@{DIGEST}",
            id="a digest pins the image",
        ),
        pytest.param(
            {"image": {"registry": "localhost", "repository": "operator"}},
            f"localhost/operator:{VERSION}",
            id="a registry can be given apart",
        ),
        pytest.param(
            {
                "global": {"imageRegistry": "mirror.example.com"},
                "image": {"registry": "localhost", "repository": "operator"},
            },
            f"mirror.example.com/operator:{VERSION}",
            id="a global registry wins",
        ),
    ],
)
def test_the_image_follows_the_values(values: Values, image: str) -> None:
    assert container(render(values))["image"] == image


@pytest.mark.parametrize("registry", ["", "registry.example.com"])
def test_an_image_repository_is_required(registry: str) -> None:
    with pytest.raises(RenderError, match=r"image\.repository is empty: set it to"):
        render_text({"image": {"registry": registry, "repository": ""}})


def test_pull_secrets_are_taken_from_global_and_local_values_once() -> None:
    pod = one(render(EVERYTHING), "Deployment")["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "shared"}, {"name": "own"}]


def test_scheduling_values_reach_the_pod() -> None:
    pod = one(render(EVERYTHING), "Deployment")["spec"]["template"]["spec"]
    for name in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "priorityClassName",
    ):
        assert pod[name] == EVERYTHING[name]


def test_common_labels_and_annotations_are_everywhere() -> None:
    own = {f"extra-{RELEASE}", f"{RELEASE}-text"}
    for item in render(EVERYTHING):
        if item["metadata"]["name"] in own:
            continue
        assert item["metadata"]["labels"]["example.com/team"] == "databases"
        assert item["metadata"]["annotations"]["example.com/contact"] == "databases"


def test_pod_labels_cannot_break_the_selector() -> None:
    labels = one(render(EVERYTHING), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == RELEASE
    assert labels["example.com/pod"] == "yes"


def test_extra_objects_are_templates() -> None:
    rendered = render(EVERYTHING)
    names = {each["metadata"]["name"] for each in of_kind(rendered, "ConfigMap")}
    assert f"extra-{RELEASE}" in names
    assert one(rendered, "Secret")["metadata"]["name"] == f"{RELEASE}-text"


def test_monitors_scrape_the_named_port() -> None:
    rendered = render(EVERYTHING)
    assert one(rendered, "ServiceMonitor")["spec"]["endpoints"] == [
        {
            "port": "http",
            "path": "/metrics",
            "interval": "30s",
            "scrapeTimeout": "10s",
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "drop", "regex": "python_.*"}],
        }
    ]
    assert one(rendered, "PodMonitor")["spec"]["podMetricsEndpoints"] == [
        {"port": "http", "path": "/metrics", "interval": "1m", "honorLabels": True}
    ]
    assert one(rendered, "Service")["spec"]["ports"] == [
        {"name": "http", "port": 9100, "targetPort": "http", "protocol": "TCP"}
    ]


@pytest.mark.parametrize(
    ("value", "kind", "endpoints"),
    [
        ("serviceMonitor", "ServiceMonitor", "endpoints"),
        ("podMonitor", "PodMonitor", "podMetricsEndpoints"),
    ],
)
def test_the_metrics_keep_their_labels_by_default(value: str, kind: str, endpoints: str) -> None:
    rendered = render({"metrics": {value: {"enabled": True}}})
    assert one(rendered, kind)["spec"][endpoints] == [
        {"port": "http", "path": "/metrics", "honorLabels": True}
    ]


def test_a_service_monitor_without_service_is_refused() -> None:
    values = {"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}}
    with pytest.raises(RenderError, match=r"needs metrics\.service\.enabled"):
        render(values)


def test_optional_objects_are_off_by_default() -> None:
    kinds = {item["kind"] for item in render()}
    assert kinds == {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Deployment",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    }


def test_a_network_policy_restricts_egress_only_when_asked() -> None:
    plain = one(render({"networkPolicy": {"enabled": True}}), "NetworkPolicy")["spec"]
    assert plain["policyTypes"] == ["Ingress"]
    assert plain["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    strict = one(render(EVERYTHING), "NetworkPolicy")["spec"]
    assert strict["policyTypes"] == ["Ingress", "Egress"]
    assert strict["egress"] == [{"to": [{"podSelector": {}}]}]
    assert strict["ingress"][0]["from"] == [{"namespaceSelector": {}}]


@pytest.mark.parametrize(
    ("values", "release", "name"),
    [
        pytest.param({}, RELEASE, FULLNAME, id="release and chart"),
        pytest.param(
            {}, "cnpg-plugin-operator", "cnpg-plugin-operator", id="a release named like the chart"
        ),
        pytest.param({"nameOverride": "plugins"}, "a", "a-plugins", id="another name"),
        pytest.param({"fullnameOverride": "plugins"}, "a", "plugins", id="another full name"),
    ],
)
def test_objects_are_named(values: Values, release: str, name: str) -> None:
    assert one(render(values, release=release), "Deployment")["metadata"]["name"] == name


def test_rendering_twice_gives_the_same() -> None:
    assert render_text(EVERYTHING) == render_text(EVERYTHING)


@pytest.fixture
def chart_with_notes(tmp_path: Path) -> Path:
    """The chart, rendering its notes as an object."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "probe.yaml").write_text(
        'notes: {{ include (print $.Template.BasePath "/NOTES.txt") . | toJson }}\n'
    )
    return chart


def read_notes(chart: Path, values: Values) -> str:
    documents = parse(render_text(values, chart=chart))
    return str(next(item["notes"] for item in documents if "notes" in item))


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ("CertManager", "cert-manager, which has to be"),
        ("SelfManaged", "cert-manager is not needed"),
    ],
)
def test_the_notes_say_whether_cert_manager_is_needed(
    chart_with_notes: Path, provider: str, says: str
) -> None:
    assert says in read_notes(chart_with_notes, {"defaults": {"tlsProvider": provider}})


def test_the_notes_name_the_next_command(chart_with_notes: Path) -> None:
    notes = read_notes(chart_with_notes, {"cnpg": {"namespaces": ["databases", "other"]}})
    assert "kubectl apply -f -" in notes
    assert "kind: CNPGPlugin" in notes
    assert "namespace: databases" in notes


def test_the_notes_recommend_the_label_of_pod_security(chart_with_notes: Path) -> None:
    notes = read_notes(chart_with_notes, {"cnpg": {"namespaces": ["databases", "other"]}})
    label = "pod-security.kubernetes.io/enforce=restricted"
    assert f"kubectl label namespace databases other {label}" in notes
    assert "wait cnpgplugin/my-plugin --for=condition=Ready" in notes
    assert "databases, other" in notes


def test_the_notes_say_how_prometheus_may_read_secured_metrics(chart_with_notes: Path) -> None:
    secure = {"enabled": True, "secretName": "metrics-tls"}
    notes = read_notes(chart_with_notes, {"metrics": {"secure": secure}})
    role = f"--clusterrole={NAMESPACE}:{FULLNAME}-metrics-reader"
    assert f"{role} --serviceaccount=monitoring:prometheus" in notes
    assert "metrics-reader" not in read_notes(chart_with_notes, {})
