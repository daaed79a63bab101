"""The cluster's certificates and kubeconfigs, created once per cluster with the openssl program.

The standard library cannot issue certificates, and this package must not need other libraries.
"""

import base64
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.network import FIRST_SERVICE_ADDRESS, NODE_ADDRESS
from tests.cluster.paths import Layout, write_if_changed

NODE_NAME = "node"
API_SERVER = "https://127.0.0.1:6443"
_MASTERS = "system:masters"
_DAYS = "3650"


@dataclass(frozen=True)
class Leaf:
    """A certificate to issue: its subject and its usages."""

    name: str
    common_name: str
    organization: str = ""
    alternative_names: tuple[str, ...] = ()
    usages: tuple[str, ...] = ("clientAuth",)


LEAVES = (
    Leaf(
        "apiserver",
        "kube-apiserver",
        alternative_names=(
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            "DNS:kubernetes.default.svc.cluster.local",
            "DNS:localhost",
            f"IP:{FIRST_SERVICE_ADDRESS}",
            "IP:127.0.0.1",
            f"IP:{NODE_ADDRESS}",
        ),
        usages=("serverAuth",),
    ),
    Leaf(
        "kubelet",
        f"system:node:{NODE_NAME}",
        "system:nodes",
        (f"DNS:{NODE_NAME}", f"IP:{NODE_ADDRESS}"),
        ("serverAuth", "clientAuth"),
    ),
    Leaf("admin", "admin", _MASTERS),
    Leaf("cluster-tool", "cluster-tool", _MASTERS),
    Leaf("coredns", "coredns", _MASTERS),
    Leaf("cert-manager", "cert-manager", _MASTERS),
    Leaf("kube-controller-manager", "system:kube-controller-manager"),
    Leaf("kube-scheduler", "system:kube-scheduler"),
    Leaf("kube-proxy", "system:kube-proxy"),
    Leaf("front-proxy", "front-proxy"),
)
# The clients of the API server; each has its own kubeconfig, so the audit log can distinguish them.
USERS = tuple(leaf.name for leaf in LEAVES if leaf.name not in ("apiserver", "front-proxy"))


def create_pki(layout: Layout) -> None:
    """Create the CA, every certificate and every kubeconfig, unless they exist."""
    if not layout.pki.exists():
        partial = layout.pki.with_name("pki.new")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        _create_authority(partial)
        for leaf in LEAVES:
            _issue(partial, leaf)
        partial.rename(layout.pki)
    for user in USERS:
        write_if_changed(layout.kubeconfig(user), _kubeconfig(layout.pki, user), mode=0o600)


def _openssl(*argv: str) -> None:
    done = subprocess.run(["openssl", *argv], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"openssl {' '.join(argv)}: {done.stderr.strip()}")


def _request(directory: Path, name: str, subject: list[str], extensions: list[str]) -> list[str]:
    """Build the arguments for a new P-256 key and a certificate with exactly these extensions."""
    config = directory / f"{name}.cnf"
    sections = ["[req]", "distinguished_name=dn", "x509_extensions=ext", "prompt=no", "[dn]"]
    identifiers = ["subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid:always"]
    config.write_text("\n".join([*sections, *subject, "[ext]", *extensions, *identifiers, ""]))
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.crt")]
    return ["req", "-x509", "-config", str(config), "-days", _DAYS, *key, *files]


def _create_authority(directory: Path) -> None:
    extensions = ["basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl(*_request(directory, "ca", ["CN=cluster-ca"], extensions))
    key, public = str(directory / "sa.key"), str(directory / "sa.pub")
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    _openssl("ec", "-in", key, "-pubout", "-out", public)


def _issue(directory: Path, leaf: Leaf) -> None:
    subject = [f"O={leaf.organization}"] if leaf.organization else []
    extensions = [
        "basicConstraints=critical,CA:false",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={','.join(leaf.usages)}",
    ]
    if leaf.alternative_names:
        extensions.append(f"subjectAltName={','.join(leaf.alternative_names)}")
    request = _request(directory, leaf.name, [*subject, f"CN={leaf.common_name}"], extensions)
    _openssl(*request, "-CA", str(directory / "ca.crt"), "-CAkey", str(directory / "ca.key"))


def _kubeconfig(pki: Path, user: str) -> str:
    """Build a kubeconfig with everything embedded (as JSON, which is also YAML)."""

    def embedded(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    cluster = {"server": API_SERVER, "certificate-authority-data": embedded("ca.crt")}
    credentials = {
        "client-certificate-data": embedded(f"{user}.crt"),
        "client-key-data": embedded(f"{user}.key"),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": user}}],
        "current-context": "cluster",
    }
    return json.dumps(content, indent=1)
