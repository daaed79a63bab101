"""CloudNativePG's Events on the Services of plugins (1.29.0 and newer)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.cluster import observe
from cnpg_plugin_operator.decide.facts.cnpg import CNPGEvent

SIDE_EVENTS: Final = frozenset({"FinalizerAdded", "PluginCleanup"})
"""Other Events of CloudNativePG 1.29.0 to 1.30.0 on a Service; neither is about a registration."""

ENTRY_EVENTS: Final = frozenset({"PluginRegistered", "PluginCleanup"})
"""Events that change or end the entry of a plugin's name (1.29.0 to 1.30.1)."""


def find_event(plugin: Plugin, bodies: Iterable[Mapping[str, Any]]) -> CNPGEvent | None:
    """Find CloudNativePG's newest Event on the plugin's own Service."""
    events = (observe.read_event(b) for b in bodies if b.get("reason") not in SIDE_EVENTS)
    own = (event for event in events if event.service == plugin.service_name)
    return max(own, key=_recency, default=None)


def find_rival(
    plugin: Plugin, bodies: Iterable[Mapping[str, Any]], labelled: Iterable[Mapping[str, Any]]
) -> CNPGEvent | None:
    """Find CloudNativePG's last Event about the plugin's name, if it is on another Service.

    Its messages contain the plugin's name; a Service with the label needs no message.
    """
    name = plugin.spec.plugin_name
    bearing = {plugin.service_name, *(body["metadata"]["name"] for body in labelled)}
    events = (observe.read_event(b) for b in bodies if b.get("reason") in ENTRY_EVENTS)
    about = (e for e in events if e.service in bearing or f"plugin {name} " in e.message)
    newest = max(about, key=_recency, default=None)
    return newest if newest is not None and newest.service != plugin.service_name else None


def _recency(event: CNPGEvent) -> tuple[datetime, int]:
    """Order Events by time; within a second, by the order in which the API server stored them."""
    return event.at, event.number
