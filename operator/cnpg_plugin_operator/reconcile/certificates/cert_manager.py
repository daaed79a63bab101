"""`tls.provider: CertManager`: cert-manager issues the certificates for objects kept here."""

from datetime import datetime

from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.cert_manager import read_requests
from cnpg_plugin_operator.cluster.secrets import find_given_marks
from cnpg_plugin_operator.decide.certificates.cert_manager import decide_issuing
from cnpg_plugin_operator.decide.facts.cert_manager import IssuingFacts
from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.desired.certificates import (
    build_client_certificate,
    build_own_authority,
    build_server_certificate,
    server_names,
)
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.stages import NOTHING, Plan
from cnpg_plugin_operator.reconcile.writes import Apply, GiveBack


class CertManaged:
    """Maintains Certificates; cert-manager owns the Secrets."""

    def objects(self, plugin: Plugin, domain: str) -> list[Object]:
        """Give the plugin's Certificates."""
        return [
            *(build_own_authority(plugin) if plugin.has_own_authority else []),
            build_client_certificate(plugin),
            build_server_certificate(plugin, server_names(plugin, domain, None)),
        ]

    def plan_authority(self, context: Context) -> Plan:
        """Plan an intermediate of the plugin's own.

        cert-manager waits by itself for the chain, which the namespace's pass applies.
        """
        plugin = context.plugin
        wanted = context.seen.cert_manager and plugin.has_own_authority
        return Plan(writes=tuple(map(Apply, build_own_authority(plugin))) if wanted else ())

    def plan_client(self, context: Context) -> Plan:
        """Plan the pair of CloudNativePG."""
        if not context.seen.cert_manager:
            return NOTHING
        return Plan(writes=(Apply(build_client_certificate(context.plugin)),))

    def plan_server(self, context: Context) -> Plan:
        """Plan the pair of the plugin."""
        if not context.seen.cert_manager:
            return NOTHING
        domain, plugin = context.env.settings.cluster_domain, context.plugin
        dns_names = server_names(plugin, domain, context.announced_name)
        applied = Apply(build_server_certificate(plugin, dns_names))
        return Plan(writes=(applied, *_give_back(context, plugin.server_secret)))

    def read(self, context: Context, name: str) -> PairFacts:
        """Read one of the pairs."""
        return context.pair(name)

    def explain(self, context: Context) -> Verdict | None:
        """Return cert-manager's progress, or None where it reports everything ready."""
        return decide_issuing(
            IssuingFacts(
                served=context.seen.cert_manager,
                issuer=context.seen.issuer,
                requests=read_requests(context.plugin, context.live),
            ),
            context.now,
        )

    def renewals(
        self, context: Context, server: PairFacts, client: PairFacts
    ) -> tuple[datetime | None, datetime | None]:
        """Return when cert-manager will renew the pairs."""
        times = {r.name: r.renewal_time for r in read_requests(context.plugin, context.live)}
        return times.get(server.secret), times.get(client.secret)


def _give_back(context: Context, name: str) -> tuple[GiveBack, ...]:
    """Give a Secret to cert-manager that the operator has kept for provider SelfManaged."""
    secret = context.secrets.get(name)
    if secret is None:
        return ()
    marks = find_given_marks(context.plugin, secret)
    return (GiveBack(secret, marks),) if marks is not None else ()
