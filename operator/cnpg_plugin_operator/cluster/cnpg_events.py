"""CloudNativePG's Events on the Services of plugins (1.29.0 and newer)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster.addresses import field_selector
from cnpg_plugin_operator.cluster.kinds import SERVICE
from cnpg_plugin_operator.decide.facts.cnpg import CNPGEvent

FIELDS: Final = field_selector(
    {"involvedObject.kind": SERVICE.kind, "source": names.cnpg.EVENT_SOURCE}
)
"""Selects them."""

SIDE_EVENTS: Final = frozenset({"FinalizerAdded", "PluginCleanup"})
"""Other Events of CloudNativePG 1.29.0 to 1.30.0 on a Service; neither is about a registration."""

ENTRY_EVENTS: Final = frozenset({"PluginRegistered", "PluginCleanup"})
"""Events that change or end the entry of a plugin's name (1.29.0 to 1.30.1)."""


def find_event(plugin: Plugin, events: Iterable[CNPGEvent]) -> CNPGEvent | None:
    """Find CloudNativePG's newest Event on the plugin's own Service."""
    own = (e for e in events if e.service == plugin.service_name and e.reason not in SIDE_EVENTS)
    return max(own, key=_recency, default=None)


def find_rival(
    plugin: Plugin, events: Iterable[CNPGEvent], labelled: Iterable[Mapping[str, Any]]
) -> CNPGEvent | None:
    """Find CloudNativePG's last Event about the plugin's name, if it is on another Service.

    Its messages contain the plugin's name; a Service with the label needs no message.
    """
    words = f"plugin {plugin.spec.plugin_name} "
    bearing = {plugin.service_name, *(body["metadata"]["name"] for body in labelled)}
    entries = (event for event in events if event.reason in ENTRY_EVENTS)
    about = (e for e in entries if e.service in bearing or words in e.message)
    newest = max(about, key=_recency, default=None)
    return newest if newest is not None and newest.service != plugin.service_name else None


def _recency(event: CNPGEvent) -> tuple[datetime, int]:
    """Order Events by time; within a second, by the order in which the API server stored them."""
    return event.at, event.number
