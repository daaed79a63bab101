"""`tls.provider: Secrets`: the user provides both pairs; they are read and never written."""

from datetime import datetime

from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.reconcile.context import Context
from cnpg_plugin_operator.reconcile.stages import NOTHING, Plan


class UserSecrets:
    """Reads the user's Secrets."""

    def objects(self, _plugin: Plugin, _domain: str) -> list[Object]:
        """Maintain nothing: everything belongs to the user."""
        return []

    def plan_authority(self, _: Context) -> Plan:
        """Plan nothing: the user's pairs are looked at only."""
        return NOTHING

    def plan_client(self, _: Context) -> Plan:
        """Plan nothing, likewise."""
        return NOTHING

    def plan_server(self, _: Context) -> Plan:
        """Plan nothing, likewise."""
        return NOTHING

    def read(self, context: Context, name: str) -> PairFacts:
        """Read one of the pairs."""
        return context.pair(name)

    def explain(self, _: Context) -> Verdict | None:
        """Nothing is ever in progress; the checks say everything."""
        return None

    def renewals(
        self, _work: Context, _server: PairFacts, _client: PairFacts
    ) -> tuple[datetime | None, datetime | None]:
        """Only the user knows."""
        return None, None
