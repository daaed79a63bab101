"""`metrics.secure` on a real cluster: only who has the right reads metrics, from a standby as well.

Rights and tokens are the API server's. The certificate is renewed while the operators run.
"""

import base64
import http.client
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.cluster.network import call_inside
from tests.support import wait
from tests.support.e2e.api import CORE, RBAC, Object
from tests.support.e2e.installation import (
    OPERATOR_NAMESPACE,
    RELEASE,
    image_key,
    install_chart,
)
from tests.support.e2e.operator import Operator
from tests.support.tls.certificates import Pair, authority, issue

NAME = f"{RELEASE}.{OPERATOR_NAMESPACE}.svc"
SECRET = f"{CORE}/namespaces/{OPERATOR_NAMESPACE}/secrets/e2e-metrics-tls"
ACCOUNTS = f"{CORE}/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts"
READER, STRANGER = "e2e-reader", "e2e-stranger"
BINDING = f"{RBAC}/clusterrolebindings/{READER}"
RENEWED_WITHIN = 180.0
"""Seconds until the kubelet has written a changed Secret into a pod, which may take two minutes."""


class Secured:
    """Two operators whose metrics need a right, and how they are reached."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.authority = authority()
        self.renew()

    def renew(self) -> Pair:
        """Write another pair into the Secret."""
        pair = issue(self.authority, "metrics", dns=(NAME,))
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "e2e-metrics-tls"},
            "data": {key: base64.b64encode(data).decode() for key, data in pair.secret.items()},
        }
        self.operator.api.apply(SECRET, secret, "e2e", force=True)
        return pair

    def pods(self) -> list[Object]:
        """The operators."""
        return [pod for pod in self.operator.pods() if "deletionTimestamp" not in pod["metadata"]]

    def connect(self, pod: Object) -> ssl.SSLSocket:
        """Connect as Prometheus does, which verifies the certificate."""
        trust = ssl.create_default_context(cadata=self.authority.leaf.decode())
        address = (pod["status"]["podIP"], 8443)
        plain = call_inside(
            self.operator.cluster.layout.netns, lambda: socket.create_connection(address, 10)
        )
        return trust.wrap_socket(plain, server_hostname=NAME)

    def scrape(self, pod: Object, token: str | None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(NAME)
        connection.sock = self.connect(pod)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            connection.request("GET", "/metrics", headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def shown(self, pod: Object) -> str:
        """The certificate of a new connection."""
        with self.connect(pod) as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")

    def token(self, account: str) -> str:
        where = ("--namespace", OPERATOR_NAMESPACE)
        return self.operator.cluster.kubectl("create", "token", account, *where).strip()


@pytest.fixture(scope="module")
def secured(operator: Operator) -> Iterator[Secured]:
    api, found = operator.api, Secured(operator)
    for name in (READER, STRANGER):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        api.apply(f"{ACCOUNTS}/{name}", account, "e2e", force=True)
    secure = {"enabled": True, "secretName": "e2e-metrics-tls"}
    try:
        install_chart(operator.cluster, image_key(), metrics={"secure": secure}, replicaCount=2)
        group = "rbac.authorization.k8s.io"
        role = {"apiGroup": group, "kind": "ClusterRole", "name": f"{RELEASE}-metrics-reader"}
        reader = {"kind": "ServiceAccount", "name": READER, "namespace": OPERATOR_NAMESPACE}
        binding = {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": READER},
            "roleRef": role,
            "subjects": [reader],
        }
        api.apply(BINDING, binding, "e2e", force=True)
        yield found
    finally:
        install_chart(operator.cluster, image_key())
        for path in (BINDING, SECRET, f"{ACCOUNTS}/{READER}", f"{ACCOUNTS}/{STRANGER}"):
            api.delete(path)


def test_only_an_account_with_the_right_reads_the_metrics(secured: Secured) -> None:
    reader, stranger = secured.token(READER), secured.token(STRANGER)
    pods, leading = secured.pods(), set()
    assert len(pods) == 2
    for pod in pods:
        assert secured.scrape(pod, None)[0] == 401
        assert secured.scrape(pod, f"{reader[:-8]}AAAAAAAA")[0] == 401
        assert secured.scrape(pod, stranger)[0] == 403
        status, text = secured.scrape(pod, reader)
        assert status == 200
        leading.add("cnpg_plugin_operator_leader 1.0" in text)
    assert leading == {True, False}, "a standby serves metrics as well"
    assert reader not in secured.operator.log()


def test_the_probes_have_their_port_for_themselves(secured: Secured) -> None:
    assert secured.operator.http("/healthz") == (200, "ok\n")
    assert secured.operator.http("/metrics")[0] == 404


def test_a_renewed_certificate_needs_no_restart(secured: Secured) -> None:
    before = {pod["metadata"]["uid"] for pod in secured.pods()}
    renewed = secured.renew().leaf.decode()
    wait.until(
        "all serve the new certificate",
        lambda: {secured.shown(pod) for pod in secured.pods()} == {renewed},
        within=RENEWED_WITHIN,
        pause=2,
    )
    assert {pod["metadata"]["uid"] for pod in secured.pods()} == before
