"""What prevents a roll of CloudNativePG now, whatever its purpose."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts

LOOK_AGAIN: Final = timedelta(seconds=2)
"""Longest pause while other plugins are expected: they may become ready or fail at any time."""

LOOK_AT_CLUSTERS: Final = timedelta(seconds=5)
"""Pause while a Cluster is busy: the end of its operation wakes only the plugins that it uses."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason to wait, and when to requeue."""

    reason: str
    after: timedelta


def find_obstacle(cnpg: CNPGFacts, busy: Sequence[str]) -> Obstacle | None:
    """Return what prevents a roll of CloudNativePG; None where nothing does.

    A roll must not interrupt a rollout that is in progress or stuck; and without a leader nothing
    would continue the operation of a `busy` Cluster.
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
