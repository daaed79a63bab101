"""Whether a plugin's pods have loaded new certificates, and what to do where they have not.

The kubelet updates a changed Secret in a pod sooner or later. Whether the server in it reloads the
files depends on the plugin (cnpg-i-machinery reloads its certificate since v0.3.0, its trusted
clients since v0.4.0; many others read files once). So the operator checks, and restarts a pod that
does not reload.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from cnpg_plugin_operator.decide import first

RELOAD_DEADLINE: Final = timedelta(minutes=3)
"""How long a pod may take: a kubelet's `syncFrequency` (1 min), its cache, a server that checks its
files once a minute."""

LOOK_AGAIN: Final = timedelta(seconds=2)
"""Interval of checks while pods are expected to reload."""


class Step(StrEnum):
    """What to do about pods that still use the previous server or client certificates."""

    NOTHING = "Nothing"
    """All pods have reloaded."""
    WAIT = "Wait"
    """They may still reload by themselves."""
    RESTART = "Restart"
    """They do not reload: restart them."""
    LEAVE = "Leave"
    """They were restarted, or must not be."""


@dataclass(frozen=True, slots=True)
class FollowInput:
    """The input of the decision."""

    mode: Literal["Auto", "Restart", "None"]
    """`spec.tls.reload`"""
    behind: tuple[str, ...]
    """Names of the pods that have not reloaded."""
    certificates: str
    """Digest of the certificates that the pods should use."""
    restarted_for: str
    """The digest that the pods were last restarted for."""
    changed_at: datetime | None
    """When these certificates last changed; None where that is unknown."""
    now: datetime


def decide_following(given: FollowInput) -> Step:
    """Decide what to do about the pods."""
    return first(CHECKS, given) or Step.RESTART


def _followed(given: FollowInput) -> Step | None:
    return None if given.behind else Step.NOTHING


def _left_alone(given: FollowInput) -> Step | None:
    """The user restarts pods, or a restart did not help: another would not, either."""
    done = given.restarted_for == given.certificates
    return Step.LEAVE if done or given.mode == "None" else None


def _in_time(given: FollowInput) -> Step | None:
    if given.changed_at is None or given.now >= given.changed_at + RELOAD_DEADLINE:
        return None
    return Step.WAIT


CHECKS: Final = (_followed, _left_alone, _in_time)
"""In order: what needs nothing first."""
