"""What keeps CloudNativePG from being rolled now, whatever for: it never adds to trouble."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts

LOOK_AGAIN: Final = timedelta(seconds=2)
"""Longest pause while others are expected: they may become ready, or be given up, at any time."""

LOOK_AT_CLUSTERS: Final = timedelta(seconds=5)
"""While a Cluster is amid a change: its end wakes only the plugins that it uses."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason to wait, and when to look again."""

    reason: str
    after: timedelta


def find_obstacle(cnpg: CNPGFacts, busy: Sequence[str]) -> Obstacle | None:
    """Name what is in the way of a roll of CloudNativePG; None where nothing is.

    Never another rollout on top of one that is under way, or stuck; and without a leader
    nothing would decide on a Cluster that is amid a change (`busy`).
    """
    # Under OLM, this operator deletes the pods one by one: the Deployment itself does not roll.
    leaving = bool(cnpg.olm) and any(each.pod.deleting for each in cnpg.pods)
    moving = cnpg.rolling or leaving or bool(cnpg.stuck)
    if moving or not cnpg.available or cnpg.leader is None:
        return Obstacle(cnpg.stuck or "CloudNativePG is being rolled out", LOOK_AGAIN)
    if busy:
        more = f" and {len(busy) - 1} more" if len(busy) > 1 else ""
        return Obstacle(f"Cluster {busy[0]}{more} must not be disturbed", LOOK_AT_CLUSTERS)
    return None
