"""The demo on a cluster that exists, whichever KUBECONFIG names.

It looks first, says what it will install, and asks. It builds nothing: images come from registries,
and the operator's from where the caller pushed it, or from this machine for kind, k3d and minikube.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.cluster.errors import ClusterError
from tests.cluster.progress import heartbeat, say
from tests.demo import installing, story
from tests.demo.watching import Object

CNPG_MANIFEST: Final = (
    "https://raw.githubusercontent.com/cloudnative-pg/cloudnative-pg"
    "/release-1.30/releases/cnpg-1.30.0.yaml"
)
PUBLISHED: Final = "ghcr.io/cloudnative-pg/"
"""Where the images of CloudNativePG's project are."""
FILES: Final = installing.ROOT / "config" / "plugins" / "barman-cloud"
PLUGIN, PLUGIN_NAME = "barman-cloud", "barman-cloud.cloudnative-pg.io"
DATABASE: Final = "barman-db"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"

LOADERS: Final = (
    ("kind-", ("kind", "load", "docker-image", "{image}", "--name", "{rest}")),
    ("k3d-", ("k3d", "image", "import", "{image}", "--cluster", "{rest}")),
    ("minikube", ("minikube", "image", "load", "{image}")),
)
"""How clusters of this machine get an image without a registry, by the prefix of their context."""

NO_IMAGE: Final = """\
no image of the operator is published yet. Build it (docs/install/index.md), then name it:
  make demo IMAGE=registry.example.com/cnpg-plugin-operator:0.2.0
Push it to a registry that the cluster can pull from; kind, k3d and minikube load it from Docker."""


@dataclass(frozen=True)
class Options:
    """What the caller chose."""

    image: str = ""
    """The operator's."""
    mirror: str = PUBLISHED
    """Where the images of CloudNativePG's project are pulled from."""
    cnpg: str = CNPG_MANIFEST
    """The manifest that installs CloudNativePG where it is missing: an address or a file."""


class Existing:
    """The cluster of the present kubeconfig, by the programs of this machine."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """Run kubectl; return its output, or raise with its error."""
        return _run(self.kubectl_argv(*arguments), input)

    def kubectl_argv(self, *arguments: str) -> list[str]:
        """Build the command line of kubectl."""
        return ["kubectl", *arguments]

    def helm(self, *arguments: str) -> str:
        """Run helm; return its output, or raise with its error."""
        return _run(["helm", *arguments])


def _run(argv: list[str], text: str | None = None) -> str:
    if shutil.which(argv[0]) is None:
        raise ClusterError(f"{argv[0]} is not installed, or not in PATH")
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = " ".join(argv)
        raise ClusterError(f"{words} (exit {done.returncode}):\n{done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Found:
    """What the cluster has."""

    context: str
    version: str
    has_cnpg: bool
    has_cert_manager: bool
    has_operator: bool


def look(cluster: Existing) -> Found:
    """Look at the cluster. Raises `ClusterError` with what keeps the demo from running there."""
    context = cluster.kubectl("config", "current-context").strip()
    version = json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]
    types = cluster.kubectl("get", "crd", "--output=name")
    where = ("--namespace", installing.CNPG_NAMESPACE)
    label = "--selector=app.kubernetes.io/name=cloudnative-pg"
    found = cluster.kubectl("get", "deployments", *where, label, "--output=name")
    if not found and "/clusters.postgresql.cnpg.io\n" in types:
        raise ClusterError(
            f"CloudNativePG is installed, but not in {installing.CNPG_NAMESPACE}: the demo, and "
            "config/plugins, need it there"
        )
    classes = json.loads(cluster.kubectl("get", "storageclass", "--output=json"))["items"]
    if not any(DEFAULT_CLASS in each["metadata"].get("annotations", {}) for each in classes):
        raise ClusterError("no StorageClass is the default: the database would get no volume")
    releases = cluster.helm("list", "--namespace", installing.NAMESPACE, "--short").split()
    return Found(
        context=context,
        version=version["gitVersion"],
        has_cnpg=bool(found),
        has_cert_manager="/certificates.cert-manager.io\n" in types,
        has_operator=installing.RELEASE in releases,
    )


def plan(found: Found, options: Options) -> str:
    """Say what will be installed."""
    return "\n".join(
        [f"Cluster of context {found.context}, Kubernetes {found.version}. This installs:"]
        + [f"  - {line}" for line in _lines(found, options)]
    )


def _lines(found: Found, options: Options) -> Iterator[str]:
    if not found.has_cnpg:
        yield f"CloudNativePG in {installing.CNPG_NAMESPACE}, from {options.cnpg}"
    verb = "the new values and image of" if found.has_operator else "Helm release"
    yield f"{verb} {installing.RELEASE} in {installing.NAMESPACE}, with the image {options.image}"
    if not found.has_cert_manager:
        yield "no cert-manager: the operator issues the certificates itself"
    yield f"plugin-barman-cloud in {installing.CNPG_NAMESPACE}, with its resource type and roles"
    yield f"PostgreSQL 17, one instance: {DATABASE} in {story.DATABASE_NAMESPACE}"


def show(cluster: Existing, options: Options, agrees: Callable[[str], bool]) -> str:
    """Install everything and follow it; return what to look at. Nothing happens without consent."""
    if not options.image:
        raise ClusterError(NO_IMAGE)
    found = look(cluster)
    if not agrees(plan(found, options)):
        return "nothing was installed"
    _load(found.context, options.image)
    if not found.has_cnpg:
        with heartbeat("installing CloudNativePG"):
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", options.cnpg)
            name = "deployment/cnpg-controller-manager"
            where = ("--namespace", installing.CNPG_NAMESPACE)
            cluster.kubectl("rollout", "status", name, *where, "--timeout=5m")
    _install_operator(cluster, found, options.image)
    story.follow_plugin(
        cluster, PLUGIN, _mirrored(cluster.kubectl("kustomize", str(FILES)), options)
    )
    manifest = _mirrored((story.MANIFESTS / "barman-db.yaml").read_text(), options)
    database = story.follow_database(cluster, DATABASE, manifest, PLUGIN_NAME)
    return _describe(database)


def _mirrored(manifest: str, options: Options) -> str:
    return manifest.replace(PUBLISHED, options.mirror)


def loader(context: str, image: str) -> list[str] | None:
    """The command that loads an image into a cluster of this machine; None for any other."""
    for prefix, words in LOADERS:
        if context.startswith(prefix) and shutil.which(words[0]):
            rest = context.removeprefix(prefix)
            return [word.format(image=image, rest=rest) for word in words]
    return None


def _load(context: str, image: str) -> None:
    """Load the image if it is on this machine; else the cluster has to pull it."""
    command = loader(context, image)
    if command is None or shutil.which("docker") is None:
        return
    here = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    if here.returncode == 0:
        with heartbeat(f"loading {image}"):
            _run(command)


def split_image(image: str) -> tuple[str, str, str]:
    """Split an image into the chart's repository, tag and digest."""
    rest, _, digest = image.partition("@")
    repository, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        return rest, "", digest
    return repository, tag, digest


def _install_operator(cluster: Existing, found: Found, image: str) -> None:
    repository, tag, digest = split_image(image)
    values = {"image.repository": repository, "image.tag": tag, "image.digest": digest}
    if not found.has_cert_manager:
        values["defaults.tlsProvider"] = "SelfManaged"
    given = [part for item in values.items() for part in ("--set-string", "=".join(item))]
    with heartbeat("installing the chart"):
        cluster.helm(
            *("upgrade", "--install", installing.RELEASE, str(installing.CHART)),
            *("--namespace", installing.NAMESPACE, "--create-namespace"),
            *("--values", str(FILES / "values.yaml"), *given, "--wait", "--timeout", "3m"),
        )


def _describe(database: Object) -> str:
    listed = next(p for p in database["status"]["pluginStatus"] if p["name"] == PLUGIN_NAME)
    here = f"kubectl --namespace {installing.CNPG_NAMESPACE}"
    lines = (
        "",
        f"CloudNativePG reports the plugin in Cluster {DATABASE} (status.pluginStatus):",
        json.dumps(listed, indent=2),
        "Everything keeps running. To inspect it:",
        f"  {here} describe cnpgplugin {PLUGIN}",
        f"  kubectl get cluster {DATABASE} --output yaml",
        "To remove it, except CloudNativePG: make demo-down",
    )
    return "\n".join(lines)


def remove(cluster: Existing, agrees: Callable[[str], bool]) -> str:
    """Remove what `show` installed, except CloudNativePG, in the right order."""
    context = cluster.kubectl("config", "current-context").strip()
    asked = (
        f"Cluster of context {context}. This deletes {DATABASE} with its data, "
        f"CNPGPlugin {PLUGIN} and the release {installing.RELEASE}."
    )
    if not agrees(asked):
        return "nothing was removed"
    database = str(story.MANIFESTS / "barman-db.yaml")
    for file in ("-f", database), ("-k", str(FILES)):
        say(f"deleting what is in {file[1]}")
        cluster.kubectl("delete", *file, "--ignore-not-found", "--timeout=3m")
    where = ("--namespace", installing.NAMESPACE)
    cluster.helm("uninstall", installing.RELEASE, *where, "--ignore-not-found")
    return "CloudNativePG and the resource type CNPGPlugin remain"
