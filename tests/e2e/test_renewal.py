"""Certificates are renewed while plugins are called, for every provider, and no call fails.

Three plugins are called four times a second with CloudNativePG's rules: one with certificates from
cert-manager, one with certificates from the operator, and one that was deployed by hand, as plugins
are published. The last loses calls when its certificates are renewed: a probe that could not see an
outage would fail here. A Cluster of CloudNativePG names each of them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.cluster import Cluster
from tests.support import wait
from tests.support.e2e.announced import Peers
from tests.support.e2e.api import ApiError
from tests.support.e2e.installation import ROOT
from tests.support.e2e.operator import Operator
from tests.support.e2e.phases import PLUGIN_ERROR, Phases
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.probe import INTERVAL, Calls, Probe
from tests.support.e2e.renewal import Renewals
from tests.support.resources import NAMESPACE, plugin, plugin_name, postgres

pytestmark = pytest.mark.cnpg("untouched")

STATIC = ROOT / "tests" / "plugins" / "static" / "hello.yaml"
BY_HAND = "hello"
BY_HAND_NAME = "hello.cnpgplugin.dev"
BY_HAND_SECRETS = ("hello-server-tls", "hello-client-tls")

PLUGINS = {"CertManager": "renewed-by-cert-manager", "SelfManaged": "renewed-by-operator"}
INTERMEDIATES = {"CertManager": "cnpg-plugins", "SelfManaged": "cnpg-plugins-selfmanaged"}
ALL = (*PLUGINS.values(), BY_HAND)

STRETCHES = (
    "the first renewal",
    "the second renewal",
    "the renewal of the intermediate",
    "the renewal of all at once by cert-manager",
)

MANIFESTS_AT_MOST = 4
"""Maximum renewals of the manifests until one causes an outage; the first nearly always does."""

RENEWED_WITHIN = 30
"""Seconds for cert-manager or the operator to issue again."""

READ_WITHIN = 60
"""Seconds until a pod has read its changed files; the tests' kubelet checks every 10 to 15 seconds,
that of a usual cluster every 60 to 90."""


@dataclass
class Stretch:
    """The time of one renewal, between two working states."""

    began: float
    ended: float = 0.0
    problem: str = ""
    """Why its end was not observed."""


@dataclass
class Story:
    """What happened, for the tests to evaluate."""

    probe: Probe
    phases: Phases
    stretches: dict[str, Stretch] = field(default_factory=dict)
    passes: int = 0
    """How often CloudNativePG reconciled Clusters meanwhile."""

    @property
    def seconds(self) -> float:
        """The total duration."""
        return max(s.ended for s in self.stretches.values()) - self.began

    @property
    def began(self) -> float:
        """When the first renewal was requested."""
        return min(s.began for s in self.stretches.values())

    def calls(self, service: str) -> Calls:
        """The calls of a plugin from the first renewal on."""
        return self.probe.calls(service, self.began)

    def calls_in(self, stretch: str, service: str) -> Calls:
        """The calls of a plugin during one completed renewal."""
        found = self.stretches[stretch]
        if found.problem:
            pytest.fail(found.problem, pytrace=False)
        return self.probe.calls(service, found.began, found.ended)

    def pass_through(self, name: str, renew: Callable[[], None]) -> None:
        """Perform one renewal; its test reports the failures."""
        stretch = Stretch(time.monotonic())
        self.stretches[name] = stretch
        try:
            renew()
        except (AssertionError, ApiError) as error:
            stretch.problem = str(error)
        stretch.ended = time.monotonic()


@dataclass
class Renewing:
    """Renews the certificates of the three plugins, and waits until both sides use the new."""

    plugins: Plugins
    peers: Peers
    probe: Probe
    phases: Phases
    renewals: Renewals

    def renew_leaves(self) -> None:
        """Renew both certificates of both plugins of the operator."""
        previous: dict[str, str] = {}
        for provider, name in PLUGINS.items():
            previous |= self.renewals.ask_for_leaves(provider, name)
        self.renewals.until_changed(previous, within=RENEWED_WITHIN)

    def renew_leaves_and_manifests(self) -> None:
        """Renew the certificates of all three plugins; those of the manifests until an outage.

        The kubelet may happen to check a moment after their renewal.
        """
        for _ in range(MANIFESTS_AT_MOST):
            self._renew_by_hand()
            self.peers.until_served(BY_HAND, within=READ_WITHIN)
            if self.probe.calls(BY_HAND).failed and self.phases.errors(BY_HAND):
                break
        self.renew_leaves()

    def _renew_by_hand(self) -> None:
        previous = self.renewals.contents(*BY_HAND_SECRETS)
        for certificate in ("hello-server", "hello-client"):
            self.renewals.renew_certificate(certificate)
        self.renewals.until_changed(previous, within=RENEWED_WITHIN)

    def renew_intermediates(self) -> None:
        """Renew the issuer, so that it signs both certificates again.

        The operator renews its own leaves by itself; cert-manager would only when they are due.
        """
        name = PLUGINS["SelfManaged"]
        previous = self.renewals.leaves(name)
        for provider, secret in INTERMEDIATES.items():
            previous |= self.renewals.ask_for_authority(provider, secret)
        self.renewals.until_changed(previous, within=RENEWED_WITHIN)
        self.until_used(*PLUGINS.values())
        name = PLUGINS["CertManager"]
        previous = self.renewals.ask_for_leaves("CertManager", name)
        self.renewals.until_changed(previous, within=RENEWED_WITHIN)
        for provider, name in PLUGINS.items():
            self._until_signed(name, INTERMEDIATES[provider])

    def renew_all_of_cert_manager(self) -> None:
        """Renew the issuer and the leaves at the same time, as `cmctl renew --all` does."""
        provider = "CertManager"
        previous = self.renewals.ask_for_authority(provider, INTERMEDIATES[provider])
        previous |= self.renewals.ask_for_leaves(provider, PLUGINS[provider])
        self.renewals.until_changed(previous, within=RENEWED_WITHIN)

    def _until_signed(self, name: str, intermediate: str) -> None:
        """Wait until an intermediate has signed what both sides present."""
        (now, *_) = self.peers.certificates(intermediate)

        def signed() -> bool:
            server = self.peers.certificates(f"{name}-server-tls")
            return now in server and now in self.peers.announced(name).client

        wait.until(
            f"both certificates of {name} are signed by the new {intermediate}",
            signed,
            within=RENEWED_WITHIN,
            explain=lambda: self.peers.explain(name),
        )

    def to_the_end(self, renew: Callable[[], None]) -> Callable[[], None]:
        """Renew, and wait until both plugins of the operator use the new certificates."""

        def followed() -> None:
            renew()
            self.until_used(*PLUGINS.values())

        return followed

    def until_used(self, *services: str) -> None:
        """Wait until pods present the new certificates, and calls have been answered since."""
        self.peers.until_served(*services, within=READ_WITHIN)
        self.plugins.until_ready(*(name for name in services if name != BY_HAND))
        self.probe.until_answered(*services)


@pytest.fixture(scope="module")
def by_hand(cluster: Cluster) -> Iterator[None]:
    """The manifests without the operator."""
    cluster.kubectl("apply", "-f", str(STATIC))
    where = ("--namespace", NAMESPACE, "--for=condition=Available", "--timeout=300s")
    cluster.kubectl("wait", f"deployment/{BY_HAND}", *where)
    yield
    cluster.kubectl("delete", "-f", str(STATIC), "--timeout=300s")
    cluster.kubectl("delete", "--namespace", NAMESPACE, "secret", *BY_HAND_SECRETS)


@pytest.fixture(scope="module")
def phases(operator: Operator, by_hand: None, module_plugins: Plugins) -> Iterator[Phases]:
    """A Cluster for each plugin, watched from its creation and constantly reconciled."""
    for provider, name in PLUGINS.items():
        module_plugins.apply(plugin(name, tls={"provider": provider}))
    module_plugins.until_ready(*PLUGINS.values())
    with Phases(operator.cluster, operator.api, ALL) as watched:
        registered = {name: plugin_name(name) for name in PLUGINS.values()} | {
            BY_HAND: BY_HAND_NAME
        }
        module_plugins.apply(*(postgres(name, known) for name, known in registered.items()))
        yield watched


@pytest.fixture(scope="module")
def story(
    operator: Operator,
    phases: Phases,
    module_plugins: Plugins,
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    """All renewals: two of all leaves, one of the intermediates."""
    peers = Peers(operator.cluster, operator.api)
    with Probe(operator.cluster, tmp_path_factory.mktemp("probe"), ALL) as probe:
        reported = Story(probe, phases)
        renewing = Renewing(module_plugins, peers, probe, phases, Renewals(operator.api, peers))
        renewals = (
            renewing.renew_leaves_and_manifests,
            renewing.renew_leaves,
            renewing.renew_intermediates,
            renewing.renew_all_of_cert_manager,
        )
        before = phases.reconciles()
        for stretch, renew in zip(STRETCHES, renewals, strict=True):
            reported.pass_through(stretch, renewing.to_the_end(renew))
        renewing.until_used(BY_HAND)
        reported.passes = phases.reconciles() - before
    for name in ALL:
        print(reported.calls(name))
    return reported


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("provider", PLUGINS)
def test_no_call_fails_while_certificates_are_renewed(
    story: Story, provider: str, stretch: str
) -> None:
    calls = story.calls_in(stretch, PLUGINS[provider])
    assert not calls.failed, str(calls)


@pytest.mark.parametrize("provider", PLUGINS)
def test_no_call_fails_from_the_first_renewal_to_the_last(story: Story, provider: str) -> None:
    calls = story.calls(PLUGINS[provider])
    assert not calls.failed, str(calls)


@pytest.mark.parametrize("provider", PLUGINS)
def test_each_renewed_client_certificate_was_accepted(story: Story, provider: str) -> None:
    """The first one, and one of each renewal: none was missed."""
    calls = story.calls(PLUGINS[provider])
    assert calls.clients >= (5 if provider == "CertManager" else 4), str(calls)


@pytest.mark.parametrize("service", ALL)
def test_the_probe_called_four_times_a_second_throughout(story: Story, service: str) -> None:
    calls = story.calls(service)
    assert len(calls.calls) >= 0.95 * calls.seconds / INTERVAL / wait.PATIENCE, str(calls)


def test_the_probe_detects_the_outage_of_manifests_without_the_operator(story: Story) -> None:
    calls = story.calls(BY_HAND)
    assert calls.failed, str(calls)
    assert calls.longest_outage > 0, str(calls)


@pytest.mark.parametrize("provider", PLUGINS)
def test_cloudnativepg_puts_no_cluster_of_the_plugin_into_an_error_phase(
    story: Story, provider: str
) -> None:
    passed = story.phases.of(PLUGINS[provider])
    assert any(phase.phase for phase in passed)
    assert not [phase for phase in passed if phase.is_error], passed


def test_the_watch_detects_the_error_phase_of_manifests_without_the_operator(
    story: Story,
) -> None:
    errors = story.phases.errors(BY_HAND)
    assert PLUGIN_ERROR in [error.phase for error in errors], story.phases.of(BY_HAND)


def test_cloudnativepg_kept_reconciling_the_clusters(story: Story) -> None:
    assert story.passes >= story.seconds / 2 / wait.PATIENCE
