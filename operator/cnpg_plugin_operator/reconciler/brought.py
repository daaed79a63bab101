"""`tls.provider: Secrets`: the user brings both pairs; they are looked at and never written."""

from datetime import datetime

from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide.facts import PairFacts
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.reconciler.work import Work


class Brought:
    """Reads the user's Secrets."""

    def objects(self, _plugin: Plugin, _domain: str) -> tuple[list[Object], list[Object]]:
        """Keep nothing: all of it is the user's."""
        return [], []

    async def provide_client(self, work: Work) -> PairFacts:
        """Read the pair of CloudNativePG."""
        return work.pair(work.plugin.client_secret)

    async def provide_server(self, work: Work) -> PairFacts:
        """Read the pair of the plugin."""
        return work.pair(work.plugin.server_secret)

    def explain(self, _: Work) -> Verdict | None:
        """Nothing is under way: what the checks say is all there is."""
        return None

    def renewals(
        self, _work: Work, _server: PairFacts, _client: PairFacts
    ) -> tuple[datetime | None, datetime | None]:
        """Only the user knows."""
        return None, None
