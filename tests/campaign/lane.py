"""A lane: a namespace with its own CloudNativePG and operator, in which plans run one by one.

Everything is real: CloudNativePG's manifest, told to watch its own namespace only; the rights and
the environment of the operator from the chart. The operator is a process in the cluster's network
that believes it is in a pod: it reads a service account's token, and the API server's address leads
to the fault proxy. It has no Lease: `test_leadership` is about that.
"""

import asyncio
import base64
import contextlib
import functools
import json
import os
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.campaign.admin import JSON_PATCH, Admin, Object
from tests.campaign.calls import Call
from tests.campaign.proxy import Proxy
from tests.campaign.rights import render
from tests.cluster import Cluster
from tests.support.e2e.api import APPS, CORE, PLUGINS
from tests.support.e2e.cnpg_install import manifest_objects
from tests.support.e2e.installation import ROOT
from tests.support.e2e.remains import marked
from tests.support.tls.certificates import addresses, authority, issue

CNPG: Final = "cnpg-controller-manager"

_API_SERVER: Final = "kubernetes.default.svc"
_HTTPS, _HTTP = 443, 8080
_IN_POD: Final = (
    'mount -t tmpfs none /run && mount --bind "$0" /etc/resolv.conf && '
    'mount --bind "$1/hosts" /etc/hosts && mkdir -p /run/secrets/kubernetes.io && '
    'ln -s "$1" /run/secrets/kubernetes.io/serviceaccount && shift && exec "$@"'
)
"""What a pod sees: its name resolution, and its service account. kopf calls the API server by its
name, and so at its usual port: each lane has an address of its own."""


class Lane:
    """One of several, by its number."""

    def __init__(self, cluster: Cluster, admin: Admin, number: int, work: Path) -> None:
        self.cluster, self.admin, self.number = cluster, admin, number
        self.namespace = f"campaign-{number}"
        self.directory = work / self.namespace
        self.log = self.directory / "operator.log"
        self.source = ROOT / "operator"
        """The operator's code."""
        self._process: asyncio.subprocess.Process | None = None
        self._address = f"127.0.1.{number + 1}"
        self._environment: dict[str, str] = {}
        self.rights: list[Object] = []
        """As the chart gives them."""

    def path(self, plural: str, root: str = CORE) -> str:
        """The collection of a kind."""
        return f"{root}/namespaces/{self.namespace}/{plural}"

    @property
    def calls(self) -> list[Call]:
        """The operator's requests since the plan began."""
        return self.proxy.calls

    async def build(self) -> None:
        """Create everything, in place of what an earlier run has left."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.clear()
        if not self.rights:
            self.rights, self._environment = await asyncio.to_thread(render, self.namespace)
            await self._start_proxy()
        await self.fill()
        await self.start()

    async def fill(self) -> None:
        """Create the namespace with everything but the operator's process."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        await self.admin.create(f"{CORE}/namespaces", marked(body))
        await self.apply(*self.rights)
        await self.install_cnpg()
        await self.renew_token()
        await self.until(self.cnpg_is_available, "CloudNativePG is available", within=240)

    async def clear(self) -> None:
        """Delete the namespace with everything in it."""
        path = f"{CORE}/namespaces/{self.namespace}"
        if await self.admin.find(path) is None:
            return
        await self.admin.delete(path)

        async def is_gone() -> bool:
            await self._let_go()
            return await self.admin.find(path) is None

        await self.until(is_gone, f"{self.namespace} is gone", within=180)

    async def stop(self) -> None:
        """End what runs for the lane in this process and beside it."""
        await self.end_operator()
        await self.proxy.stop()

    async def leave(self) -> None:
        """Leave the cluster to another lane; what this one has left might block that."""
        if self.rights:
            await self.end_operator()
            await self.clear()

    async def remove(self) -> None:
        """Delete everything that the lane is made of."""
        await self.clear()
        for each in (*self.rights, _binding(self.namespace)):
            if "namespace" not in each["metadata"]:
                await self.admin.delete(path_of(each))

    async def apply(self, *manifests: Object) -> None:
        """Apply objects server-side."""
        for each in manifests:
            await self.admin.apply(path_of(each), marked(each))

    async def install_cnpg(self) -> None:
        """Apply CloudNativePG, or what is missing of it."""
        await self.apply(*self._cnpg())

    async def start(self, within: float = 180) -> None:
        """Start the operator, and wait until it watches, for so many seconds at most."""
        argv = (sys.executable, "-m", "cnpg_plugin_operator", "run")
        resolv = str(self.cluster.layout.resolv_conf)
        account = str(self.directory)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *("unshare", "--mount", "--propagation", "private", "--"),
                *("sh", "-c", _IN_POD, resolv, account, *argv),
                env={**os.environ, **self._environment, "PYTHONPATH": str(self.source)},
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )

        async def is_ready() -> bool:
            if not self.runs:
                raise TimeoutError(f"the operator ended at its start; see {self.log}")
            return await self.is_ready()

        await self.until(is_ready, "the operator is ready", within=within)

    async def end_operator(self) -> None:
        """End the operator as Kubernetes does."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 20)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    def kill(self) -> None:
        """End the operator at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def start_again(self) -> None:
        """Start the operator where it has ended."""
        if self._process is not None:
            await self._process.wait()
        await self.start()

    @property
    def runs(self) -> bool:
        """Whether the operator's process is there."""
        return self._process is not None and self._process.returncode is None

    async def is_ready(self) -> bool:
        """What `/readyz` says."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            limit = aiohttp.ClientTimeout(total=5)
            url = f"http://{self._address}:{_HTTP}/readyz"
            async with aiohttp.ClientSession(timeout=limit) as session, session.get(url) as answer:
                return answer.status == 200
        return False

    async def renew_token(self) -> str:
        """Write another token where the operator reads it; give the previous one."""
        file = self.directory / "token"
        previous = file.read_text() if file.exists() else ""
        [account] = (each for each in self.rights if each["kind"] == "ServiceAccount")
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 24 * 3600},
        }
        path = f"{path_of(account)}/token"
        token = (await self.admin.create(path, request))["status"]["token"]
        file.write_text(token)
        return previous

    async def cnpg_is_available(self) -> bool:
        """Whether CloudNativePG's whole Deployment is up to date and available."""
        found = await self.admin.find(f"{self.path('deployments', APPS)}/{CNPG}")
        status = (found or {}).get("status", {})
        is_current = status.get("observedGeneration") == (found or {}).get("metadata", {}).get(
            "generation"
        )
        counts = {status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")}
        return bool(found) and is_current and counts == {1}

    async def until(
        self, look: Any, what: str, *, within: float, pause: float = 0.25, explain: str = ""
    ) -> None:
        """Wait until something is so. Raises `TimeoutError` with what was awaited."""
        end = time.monotonic() + within
        while not await look():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.namespace}: not within {within:g} s: {what} {explain}")
            await asyncio.sleep(pause)

    async def _start_proxy(self) -> None:
        """Start the proxy, with a certificate of its own authority, which the operator trusts."""
        root = authority("campaign")
        known = addresses(self._address, dns=(_API_SERVER,))
        pair = issue(root, _API_SERVER, dns=(), extra=(known,))
        (self.directory / "ca.crt").write_bytes(root.leaf)
        (self.directory / "hosts").write_text(f"{self._address} {_API_SERVER}\n")
        (self.directory / "namespace").write_text(self.namespace)
        certificate, key = self.directory / "proxy.crt", self.directory / "proxy.key"
        certificate.write_bytes(pair.chain)
        key.write_bytes(pair.key)
        served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        served.load_cert_chain(certificate, key)
        trust = ssl.create_default_context(cafile=str(self.cluster.layout.pki / "ca.crt"))
        self.proxy = Proxy(self.namespace, served, trust)
        await self.proxy.start(self._address, _HTTPS)
        self._environment |= {
            "KUBERNETES_SERVICE_HOST": self._address,
            "KUBERNETES_SERVICE_PORT": str(_HTTPS),
            "CNPGP_HTTP_ADDRESS": f"{self._address}:{_HTTP}",
        }

    def _cnpg(self) -> list[Object]:
        """CloudNativePG in this namespace. It gets its webhook's certificate, and so leaves the
        cluster's webhooks to the other one.
        """
        pair = issue(None, "webhook", dns=("localhost",))
        data = {"apiserver.crt": pair.chain, "apiserver.key": pair.key}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "cnpg-webhook-cert", "namespace": self.namespace},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        own = json.loads(_manifest())
        for each in own:
            each["metadata"]["namespace"] = self.namespace
            if each["kind"] == "Deployment":
                [container] = each["spec"]["template"]["spec"]["containers"]
                container["resources"] = {"requests": {"cpu": "1m", "memory": "50Mi"}}
                container["env"] += [
                    {"name": "WATCH_NAMESPACE", "value": self.namespace},
                    {"name": "WEBHOOK_CERT_DIR", "value": "/run/secrets/cnpg.io/webhook"},
                ]
        return [secret, _binding(self.namespace), *own]

    async def _let_go(self) -> None:
        """Remove the finalizers that only an operator would remove, which is not there any more."""
        for path in (self.path("services"), self.path("cnpgplugins", PLUGINS)):
            for each in await self.admin.list(path):
                if each["metadata"].get("finalizers"):
                    change = [{"op": "remove", "path": "/metadata/finalizers"}]
                    target = f"{path}/{each['metadata']['name']}"
                    with contextlib.suppress(Exception):
                        await self.admin.patch(target, change, JSON_PATCH)


@functools.cache
def _manifest() -> str:
    """What CloudNativePG is in a namespace, as JSON: reading its manifest takes seconds."""
    kinds = ("ServiceAccount", "ConfigMap", "Deployment")
    return json.dumps([each for each in manifest_objects() if each["kind"] in kinds])


def _binding(namespace: str) -> Object:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{namespace}-cnpg"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cnpg-manager"},
        "subjects": [{"kind": "ServiceAccount", "name": "cnpg-manager", "namespace": namespace}],
    }


def path_of(manifest: Mapping[str, Any]) -> str:
    """The URL of an object whose plural is regular."""
    version, metadata = manifest["apiVersion"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    kind = manifest["kind"].lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    return f"{root}{where}/{plural}/{metadata['name']}"
