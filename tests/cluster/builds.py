"""Builds the cluster's programs from their pinned Go modules, once per content.

The cache key is the content of go.mod, go.sum, the Go files and the flags: if any of them changes,
the program is built again, otherwise nothing runs. A finished program is renamed into place, so a
killed build leaves no incomplete one.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.machine import go_program
from tests.cluster.paths import PEERS, SAMPLE_PLUGIN, cache_directory
from tests.cluster.progress import heartbeat, lock_file, say

CNPG_VERSIONS = (
    "1.24.0",
    "1.24.4",
    "1.25.0",
    "1.25.1",
    "1.26.1",
    "1.27.1",
    "1.28.2",
    "1.29.1",
    "1.30.0",
    "1.30.1",
)
"""The versions that build from their Go modules; tests/cluster/README.md says which of them need
another version of a library."""
OLDER_CNPG = "1.25.0"
"""The one that `make test` runs, too: it keeps a plugin's connection until it exits."""
KUBERNETES_VERSIONS = ("1.34.3", "1.35.3")
"""The first is the default."""
SAMPLE_VERSIONS = ("0.1.0", "0.2.0")
BARMAN_CLOUD_VERSION = "0.14.0"
CNPG_MODULE = "github.com/cloudnative-pg/cloudnative-pg"
CERT_MANAGER_MODULE = "github.com/cert-manager/cert-manager"
BARMAN_CLOUD_MODULE = "github.com/cloudnative-pg/plugin-barman-cloud"
_OF_MACHINERY_0_6 = (
    ("pkg/log/flags.go", "ConfigureLogging()", "ConfigureLogging(...ConfigureOption)"),
)
ESTIMATES = {
    "kube": 240,
    "coredns": 90,
    "etcd": 60,
    "helm": 30,
    "pause": 5,
    "cert-manager": 45,
    "promtool": 40,
    "cnpg-1.30.0": 40,
    "sample-plugin": 10,
    "barman-cloud": 30,
}
"""Seconds of a build on two cores, by program, after those before it (`libraries`); the length of
the others' differs little."""
OTHER_ESTIMATE = 110
_HALF = ".half"
_RARELY_COLLECTING = {"GOGC": "off", "GOMEMLIMIT": "2GiB"}
"""For the compiler and the linker, of which as many run as there are cores: a process that ends
within seconds gains nothing from collecting garbage."""
_WITHOUT_DEBUGGING = "-gcflags=all=-dwarf=false"
"""Of each package; the linker would drop it (`-s -w`). A tenth less time and a fifth less disk."""
_KUBE_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Program:
    """One binary: its module, its package, and additional files of the module.

    assets maps a path inside another module to the name of the copy beside the binary. extended
    names a library that is extended, because the release needs more of it than the version that the
    proxy serves: the files in `<module>/extension` are added, and signatures (file, old, new) are
    replaced.
    """

    name: str
    module: Path
    package: str = "."
    ldflags: str = ""
    tags: str = ""
    assets_from: str = ""
    assets: tuple[tuple[str, str], ...] = ()
    extended: str = ""
    signatures: tuple[tuple[str, str, str], ...] = ()

    @property
    def directory(self) -> Path:
        return cache_directory() / "programs" / f"{self.name}-{self._key()}"

    @property
    def binary(self) -> Path:
        return self.directory / self.name

    def asset(self, name: str) -> Path:
        return self.directory / "assets" / name

    def _key(self) -> str:
        digest = hashlib.sha256()
        sources = [self.module / "go.mod", self.module / "go.sum", *self.module.rglob("*.go")]
        for source in sorted(sources):
            if source.exists():
                digest.update(source.relative_to(self.module).as_posix().encode() + b"\0")
                digest.update(source.read_bytes() + b"\0")
        facts = [self.package, self.ldflags, self.assets, *self.signatures, *self.tags.split()]
        digest.update(json.dumps(facts).encode())
        return digest.hexdigest()[:16]


def cnpg(version: str) -> Program:
    """CloudNativePG's manager and its install manifest."""
    return Program(
        name=f"cnpg-{version}",
        module=PEERS / f"cnpg-{version}",
        package=f"{CNPG_MODULE}/cmd/manager",
        assets_from=CNPG_MODULE,
        assets=((f"releases/cnpg-{version}.yaml", "install.yaml"),),
        extended="github.com/cloudnative-pg/machinery" if version == "1.30.1" else "",
        signatures=_OF_MACHINERY_0_6 if version == "1.30.1" else (),
    )


def kubernetes(version: str) -> Program:
    """Every Kubernetes program of a node, in one binary."""
    minor = version.split(".")[1]
    return Program(
        "kube",
        PEERS / ("kube" if version == KUBERNETES_VERSIONS[0] else f"kube-{version}"),
        ldflags=(
            f"-X {_KUBE_VERSION}.gitVersion=v{version} "
            f"-X {_KUBE_VERSION}.gitMajor=1 -X {_KUBE_VERSION}.gitMinor={minor}"
        ),
    )


def sample_plugin(version: str) -> Program:
    """The project's own CNPG-I plugin, which reports this version."""
    return Program("sample-plugin", SAMPLE_PLUGIN, ldflags=f"-X main.version={version}")


ETCD = Program("etcd", PEERS / "etcd", "go.etcd.io/etcd/server/v3")
COREDNS = Program("coredns", PEERS / "coredns")
HELM = Program("helm", PEERS / "helm", "helm.sh/helm/v3/cmd/helm")
HELM_4 = Program("helm4", PEERS / "helm-4", "helm.sh/helm/v4/cmd/helm")
ACTIONLINT = Program(
    "actionlint", PEERS / "actionlint", "github.com/rhysd/actionlint/cmd/actionlint"
)
PAUSE = Program("pause", PEERS / "pause")
CERT_MANAGER = Program(
    "cert-manager",
    PEERS / "cert-manager",
    assets_from=CERT_MANAGER_MODULE,
    assets=(("deploy/crds", "crds"),),
)
BARMAN_CLOUD = Program(
    "barman-cloud",
    PEERS / "barman-cloud",
    f"{BARMAN_CLOUD_MODULE}/cmd/manager",
    assets_from=BARMAN_CLOUD_MODULE,
    assets=(("manifest.yaml", "manifest.yaml"),),
)
S3 = Program("gofakes3", PEERS / "gofakes3", "github.com/johannesboyne/gofakes3/cmd/gofakes3")
PROMTOOL = Program(
    "promtool",
    PEERS / "promtool",
    "github.com/prometheus/prometheus/cmd/promtool",
    # Rules need no service discovery, and with it the clients of a dozen clouds.
    tags="remove_all_sd",
)
PROMETHEUS = Program(
    "prometheus",
    PEERS / "prometheus",
    "github.com/prometheus/prometheus/cmd/prometheus",
    # Without its pages, for which it would need npm; the tests ask its API.
    tags="remove_all_sd",
)
KUBE_ROUTER = Program(
    "kube-router",
    PEERS / "kube-router",
    "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
)
NODE_PROGRAMS = (ETCD, COREDNS, HELM, PAUSE)


def find(program: Program) -> str:
    """The program of the environment variable of its name, of PATH, or one built here."""
    found = os.environ.get(program.name.upper()) or shutil.which(program.name)
    if found:
        return found
    build([program])
    return str(program.binary)


def build(programs: Iterable[Program]) -> None:
    """Build what the cache does not contain.

    Kubernetes shares nothing with the others and is built beside them: a build does not always use
    every core. The others follow each other, because each compiles what the next one needs.
    """
    wanted = list(programs)
    missing = [program for program in wanted if not program.directory.exists()]
    if not missing:
        return
    lock = cache_directory() / "programs.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        lock_file(handle.fileno(), "the build of another run")
        _remove_halves()
        minutes = sum(map(estimate, missing)) / 60
        say(f"building {len(missing)} programs, once: about {minutes:.0f} minutes on two cores")
        labels = {each: f"{n}/{len(missing)}" for n, each in enumerate(missing, start=1)}
        kubernetes = [program for program in missing if program.name == "kube"]
        lanes = (kubernetes, [program for program in missing if program not in kubernetes])
        with ThreadPoolExecutor(max_workers=len(lanes)) as executor:
            list(executor.map(lambda lane: _build_lane(lane, labels), lanes))


def _build_lane(programs: list[Program], labels: Mapping[Program, str]) -> None:
    for program in programs:
        if not program.directory.exists():
            _build_one(program, f"building {program.name} ({labels[program]})")


def estimate(program: Program) -> float:
    """Say how many seconds a build takes, about."""
    return ESTIMATES.get(program.name, OTHER_ESTIMATE)


def _remove_halves() -> None:
    """Remove what failed or killed builds left behind."""
    for half in (cache_directory() / "programs").glob(f"*{_HALF}"):
        shutil.rmtree(half)


def _build_one(program: Program, label: str) -> None:
    partial = program.directory.with_name(program.directory.name + _HALF)
    partial.mkdir(parents=True)
    go = go_program()
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", _WITHOUT_DEBUGGING]
    flags += [f"-ldflags=-s -w {program.ldflags}"]
    flags += [f"-tags={program.tags}"] if program.tags else []
    with tempfile.TemporaryDirectory() as work, heartbeat(label, estimate(program)):
        if program.extended:
            flags.append(f"-modfile={_extend(program, go, Path(work))}")
        argv = [go, "build", *flags, "-o", str(partial / program.name), program.package]
        run_go(argv, program.module)
        if program.assets:
            _copy_assets(program, go, partial / "assets")
    partial.rename(program.directory)


def _extend(program: Program, go: str, work: Path) -> Path:
    """Extend a copy of a library; return a go.mod that uses the copy."""
    listing = run_go([go, "list", "-m", "-f", "{{.Dir}}", program.extended], program.module)
    library = work / "library"
    shutil.copytree(listing.strip(), library, copy_function=shutil.copyfile)
    for directory in (library, *library.rglob("*/")):
        directory.chmod(0o755)
    shutil.copytree(program.module / "extension", library, dirs_exist_ok=True)
    for name, old, new in program.signatures:
        file = library / name
        file.write_text(file.read_text().replace(old, new))
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(program.module / name, work / name)
    run_go(
        [go, "mod", "edit", f"-replace={program.extended}={library}", str(work / "go.mod")], work
    )
    return work / "go.mod"


def _copy_assets(program: Program, go: str, target: Path) -> None:
    listing = run_go([go, "list", "-m", "-f", "{{.Dir}}", program.assets_from], program.module)
    target.mkdir()
    for source, name in program.assets:
        origin = Path(listing.strip()) / source
        if origin.is_dir():
            shutil.copytree(origin, target / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(origin, target / name)


def run_go(argv: list[str], module: Path) -> str:
    """Run Go in a module; return its output. Raises `ClusterError` with the end of its errors."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    environment |= {"GOTOOLCHAIN": "local", **_RARELY_COLLECTING}
    begun = time.monotonic()
    done = subprocess.run(
        argv, cwd=module, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = "\n".join(done.stderr.splitlines()[-20:])
        spent = time.monotonic() - begun
        raise ClusterError(f"in {module}, {' '.join(argv)} failed after {spent:.0f} s:\n{lines}")
    return done.stdout
