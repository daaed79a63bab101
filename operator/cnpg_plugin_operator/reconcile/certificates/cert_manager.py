"""`tls.provider: CertManager`: cert-manager makes the certificates from objects kept here."""

from datetime import datetime

from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.cert_manager import read_requests
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


class CertManaged:
    """Keeps Certificates; the Secrets are cert-manager's."""

    def objects(self, plugin: Plugin, domain: str) -> list[Object]:
        """Give the plugin's Certificates."""
        return [
            *(build_own_authority(plugin) if plugin.has_own_authority else []),
            build_client_certificate(plugin),
            build_server_certificate(plugin, server_names(plugin, domain, None)),
        ]

    async def provide_client(self, context: Context) -> PairFacts:
        """Keep the pair of CloudNativePG, and an intermediate of the plugin's own.

        cert-manager waits by itself for the chain, which the namespace's pass applies.
        """
        plugin = context.plugin
        if context.seen.cert_manager:
            if plugin.has_own_authority:
                for body in build_own_authority(plugin):
                    await context.apply(body)
            await context.apply(build_client_certificate(plugin))
        return context.pair(plugin.client_secret)

    async def provide_server(self, context: Context) -> PairFacts:
        """Keep the pair of the plugin."""
        plugin = context.plugin
        if context.seen.cert_manager:
            domain = context.env.settings.cluster_domain
            dns_names = server_names(plugin, domain, context.announced_name)
            await context.apply(build_server_certificate(plugin, dns_names))
        return context.pair(plugin.server_secret)

    def explain(self, context: Context) -> Verdict | None:
        """Say what cert-manager is at, or None where it calls everything ready."""
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
        """Tell when cert-manager is going to renew the pairs."""
        times = {r.name: r.renewal_time for r in read_requests(context.plugin, context.live)}
        return times.get(server.secret), times.get(client.secret)
