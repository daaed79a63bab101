"""The command line and configuration file of each component of the single node.

This module starts nothing: `commands` builds the command lines, `write_configuration` writes the
files that they name. Configuration is written as JSON, which every YAML parser accepts.
"""

import json
from typing import Any

from tests.cluster import builds
from tests.cluster.network import (
    CLUSTER_DOMAIN,
    CLUSTER_NETWORK,
    NODE_ADDRESS,
    POD_NETWORK,
    SERVICE_NETWORK,
    inside,
)
from tests.cluster.paths import Layout, write_if_changed
from tests.cluster.pki import NODE_NAME
from tests.cluster.processes import Command

PAUSE_IMAGE = "localhost/pause:1"
CERT_MANAGER = "cert-manager"
NODE_PATH = f"/api/v1/nodes/{NODE_NAME}"

# Components that the API server needs to answer, and those that need the API server.
FIRST = ("etcd", "kube-apiserver", "containerd")
SECOND = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns")

_ETCD = "http://127.0.0.1:2379"
_KUBE_NAMES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)


def link_programs(layout: Layout, kubernetes: str) -> None:
    """Link every program under the name by which it is called."""
    links = dict.fromkeys(_KUBE_NAMES, builds.kubernetes(kubernetes).binary)
    links.update(etcd=builds.ETCD.binary, coredns=builds.COREDNS.binary, helm=builds.HELM.binary)
    links[CERT_MANAGER] = builds.CERT_MANAGER.binary
    for name, binary in links.items():
        link = layout.programs / name
        link.unlink(missing_ok=True)
        link.symlink_to(binary)


def commands(layout: Layout) -> dict[str, Command]:
    """Build every component's command, which enters the cluster's network namespace."""

    def component(name: str, *flags: str) -> Command:
        return Command(inside(layout, [str(layout.programs / name), *flags]))

    def kubeconfig(name: str) -> str:
        return f"--kubeconfig={layout.kubeconfig(name)}"

    config = layout.config
    return {
        "etcd": component("etcd", *_etcd_flags(layout)),
        "kube-apiserver": component("kube-apiserver", *_apiserver_flags(layout)),
        "containerd": Command(
            inside(layout, ["containerd", "--config", str(config / "containerd.toml")])
        ),
        "kube-controller-manager": component(
            "kube-controller-manager",
            kubeconfig("kube-controller-manager"),
            *_controller_manager_flags(layout),
        ),
        "kube-scheduler": component(
            "kube-scheduler", kubeconfig("kube-scheduler"), "--leader-elect=false"
        ),
        "kubelet": component(
            "kubelet",
            kubeconfig("kubelet"),
            f"--config={config / 'kubelet.json'}",
            f"--root-dir={layout.state / 'kubelet'}",
            f"--cert-dir={layout.state / 'kubelet' / 'pki'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ),
        "kube-proxy": component("kube-proxy", f"--config={config / 'kube-proxy.json'}"),
        "coredns": component("coredns", "-conf", str(config / "Corefile")),
        CERT_MANAGER: Command(
            inside(layout, [str(layout.programs / CERT_MANAGER)]),
            {"KUBECONFIG": str(layout.kubeconfig(CERT_MANAGER))},
        ),
    }


def _etcd_flags(layout: Layout) -> list[str]:
    return [
        f"--data-dir={layout.state / 'etcd'}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # A test cluster that loses power may lose its data.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver_flags(layout: Layout) -> list[str]:
    pki = layout.pki
    return [
        f"--etcd-servers={_ETCD}",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        # Loopback is refused for the endpoints of the `kubernetes` Service.
        f"--advertise-address={NODE_ADDRESS}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--kubelet-client-certificate={pki / 'admin.crt'}",
        f"--kubelet-client-key={pki / 'admin.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki / 'front-proxy.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy.key'}",
        "--enable-aggregator-routing",
        "--allow-privileged",
        f"--audit-log-path={layout.audit_log}",
        f"--audit-policy-file={layout.config / 'audit-policy.json'}",
        # In megabytes: tests count writes in one file, so it must not rotate while they run.
        "--audit-log-maxsize=4096",
    ]


def _controller_manager_flags(layout: Layout) -> list[str]:
    pki = layout.pki
    return [
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        "--use-service-account-credentials",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--leader-elect=false",
        "--allocate-node-cidrs",
        f"--cluster-cidr={CLUSTER_NETWORK}",
    ]


def write_configuration(layout: Layout) -> None:
    """Write every file that the commands refer to."""
    documents: dict[str, dict[str, Any]] = {
        "audit-policy.json": {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        },
        "kubelet.json": _kubelet(layout),
        "kube-proxy.json": _kube_proxy(layout),
    }
    texts = {name: json.dumps(content, indent=1) for name, content in documents.items()}
    texts["containerd.toml"] = _containerd(layout)
    texts["Corefile"] = _corefile(layout)
    texts["node-resolv.conf"] = f"nameserver {NODE_ADDRESS}\n"
    searches = " ".join(f"{part}{CLUSTER_DOMAIN}" for part in ("default.svc.", "svc.", ""))
    texts[layout.resolv_conf.name] = (
        f"nameserver {NODE_ADDRESS}\nsearch {searches}\noptions ndots:5\n"
    )
    for name, text in texts.items():
        write_if_changed(layout.config / name, text)
    networks = layout.state / "cni" / "net.d"
    networks.mkdir(parents=True, exist_ok=True)
    pod_network = json.dumps(_pod_network(layout), indent=1)
    write_if_changed(networks / "10-pods.conflist", pod_network)


def _kubelet(layout: Layout) -> dict[str, Any]:
    pki = layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.unique}",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "failCgroupV1": False,
        "clusterDomain": CLUSTER_DOMAIN,
        "clusterDNS": [NODE_ADDRESS],
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "resolvConf": str(layout.config / "node-resolv.conf"),
        "podLogsDir": str(layout.logs / "pods"),
        "volumePluginDir": str(layout.state / "kubelet" / "volume-plugins"),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
        # CloudNativePG, which the tests start often, needs a second of a processor to start, and
        # its manifest allows it a tenth of one.
        "cpuCFSQuota": False,
        # How soon a changed Secret reaches a running pod; the default is a minute.
        "syncFrequency": "10s",
    }


def _kube_proxy(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("kube-proxy"))},
        "mode": "nftables",
        "clusterCIDR": CLUSTER_NETWORK,
        "hostnameOverride": NODE_NAME,
        "conntrack": {"maxPerCore": 0},
    }


def _pod_network(layout: Layout) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": str(layout.state / "cni" / "addresses"),
        "ranges": [[{"subnet": POD_NETWORK}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    port_mapping = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": layout.unique, "plugins": [bridge, port_mapping]}


def _corefile(layout: Layout) -> str:
    return f"""\
.:53 {{
    bind {NODE_ADDRESS}
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {layout.kubeconfig("coredns")} cluster
        ttl 2
    }}
    cache 2
}}
"""


def _containerd(layout: Layout) -> str:
    home = layout.state / "containerd"
    return f"""\
version = 2
root = "{home / "root"}"
state = "{home / "state"}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home / "opt"}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Lowering the score needs a right that root in a container does not have.
  restrict_oom_score_adj = true
  # Not in /run/netns: `down` must remove everything of this cluster.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{layout.state / "cni" / "net.d"}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{home / "runc"}"
"""
