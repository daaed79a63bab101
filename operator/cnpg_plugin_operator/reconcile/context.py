"""The state that the stages of one pass share: the plugin, the snapshot, and later writes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster import secrets as secret_reading
from cnpg_plugin_operator.cluster.ownership import is_own
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.cluster.snapshot import Snapshot
from cnpg_plugin_operator.decide.certificates.tls_rules import covers
from cnpg_plugin_operator.decide.facts.cnpg import Announcement
from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.service import PORT_NAME, build_candidate, build_service
from cnpg_plugin_operator.pki.reading import read_pair
from cnpg_plugin_operator.reconcile.shared import Chains
from cnpg_plugin_operator.reconcile.stages import Progress
from cnpg_plugin_operator.reconcile.writes import Target

STILL_ROUTED: Final = timedelta(seconds=10)
"""How long calls may reach a pod after it left the Service. The Service excludes it at once,
kube-proxy on each node follows later; on a busy machine half a second was measured."""


@dataclass(slots=True, kw_only=True)
class Context(Progress):
    """One pass over one resource, while it runs."""

    plugin: Plugin
    seen: Snapshot
    chains: Chains
    now: datetime
    secrets: dict[str, Secret | None] = field(init=False)
    """The Secrets as they are, kept up with what this pass writes."""
    awaits_chain: bool = False
    """Whether an authority is missing that the namespace's pass keeps."""

    _pairs: dict[str, tuple[Secret | None, PairFacts]] = field(init=False, default_factory=dict)
    """The parsed Secrets, each beside the Secret that it was read from."""

    def __post_init__(self) -> None:
        self.live, self.secrets = dict(self.seen.live), dict(self.seen.secrets)
        for name, secret in self.secrets.items():
            self.live["Secret", name] = secret.body if secret is not None else None

    def keep(self, target: Target, live: Mapping[str, Any]) -> None:
        """Keep an object as it was just written; of a Secret, what it holds as well."""
        known, self.live[target] = self.live.get(target), live
        kind, name = target
        if kind == kinds.SECRET.kind and live is not known:
            self.secrets[name] = secret_reading.read(live)

    @property
    def wanted_chain(self) -> Provider | None:
        """The chain that the plugin needs and that can be made now."""
        provider = self.plugin.provider
        possible = provider is not Provider.CERT_MANAGER or self.seen.cert_manager
        return provider if self.plugin.shares_chain and possible else None

    def pair(self, name: str) -> PairFacts:
        """Parse one of the Secrets; each is parsed once, until it is written."""
        secret = self.secrets.get(name)
        known, pair = self._pairs.get(name, (None, None))
        if pair is None or known is not secret:
            pair = self._read_pair(name, secret)
            self._pairs[name] = (secret, pair)
        return pair

    def _read_pair(self, name: str, secret: Secret | None) -> PairFacts:
        owner = secret_reading.find_owner(self.plugin, secret) if secret is not None else None
        written_at = secret.written_at if secret is not None else None
        if secret is not None and secret.pair is not None:
            return replace(secret.pair, owner=owner, written_at=written_at)
        data = secret.data if secret is not None else None
        return read_pair(name, data, owner=owner, written_at=written_at)

    @property
    def announcement(self) -> Announcement | None:
        """What the Service announces; None where it is not published."""
        live = self.live.get(("Service", self.plugin.service_name))
        return observe.read_service(live, self.now).announcement if live is not None else None

    def build_service(self, announcement: Mapping[str, str] | None) -> Object:
        """Build the plugin's Service, or a candidate while that is another's.

        Its port keeps the name that it has: a node finds the endpoints of a port by its name, and
        none while it has read the new name only of the Service, or only of its endpoints.
        """
        if announcement is None and self.adopting:
            return build_candidate(self.plugin)
        live = self.live.get(("Service", self.plugin.service_name)) or {}
        ports, spec = mapping(live.get("spec")).get("ports") or (), self.plugin.spec
        others = {extra.name for extra in spec.extra_ports if extra.service_port is not None}
        known = next((p.get("name", "") for p in ports if p.get("port") == spec.port), PORT_NAME)
        # Only a single port may be without a name, and no two may have the same.
        name = PORT_NAME if others and known in {"", *others} else str(known)
        return build_service(self.plugin, announcement, port_name=name)

    @property
    def announced_client(self) -> str:
        """Name of the announced client Secret; empty before the first announcement."""
        return self._announced(names.cnpg.CLIENT_SECRET)

    @property
    def announced_server(self) -> str:
        """Name of the Secret by which CloudNativePG trusts the plugin; empty, likewise."""
        return self._announced(names.cnpg.SERVER_SECRET)

    def _announced(self, key: str) -> str:
        announcement = self.announcement
        return announcement.annotations.get(key, "") if announcement is not None else ""

    @property
    def adopting(self) -> bool:
        """Whether the Service is still that of the installation that the plugin takes over."""
        previous = self.seen.previous
        if previous is None or not self.plugin.adopts or not previous.foreign:
            return False
        live = self.live.get(("Service", self.plugin.service_name))
        return live is not None and not is_own(self.plugin, live)

    @property
    def host(self) -> str:
        """Where the plugin is proven: its own Service, or the candidate until it has that."""
        return self.plugin.candidate_host if self.adopting else self.plugin.host

    @property
    def bridged_until(self) -> datetime | None:
        """Until when calls may reach pods of that installation; None where none do.

        Such pods accept only the pair that CloudNativePG has presented to them so far.
        """
        announcement, own = self.announcement, self.plugin.client_secret
        if announcement is None or not self.plugin.adopts or self.announced_client == own:
            return None
        since = self.now if self.adopting else announcement.announced_at
        ends = since + STILL_ROUTED
        return ends if self.now < ends else None

    @property
    def announced_name(self) -> str | None:
        """The name that CloudNativePG verifies the plugin for; None before the first.

        A name that the plugin's certificate does not have was never announced: a user who may
        annotate the Service must not get a certificate for any name.
        """
        announcement, leaf = self.announcement, self.pair(self.plugin.server_secret).leaf
        if announcement is None or leaf is None:
            return None
        name = announcement.annotations.get(names.cnpg.SERVER_NAME, self.plugin.service_name)
        return name if covers(leaf.dns_names, name) else None
