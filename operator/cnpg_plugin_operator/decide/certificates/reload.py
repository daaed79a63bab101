"""Whether a plugin's pods have followed a change of certificates, and what to do where not.

A kubelet brings a changed Secret into a pod sooner or later; whether the server in it takes notice
is the plugin's affair (cnpg-i-machinery reloads its certificate since v0.3.0, its trusted clients
since v0.4.0; many others read files once). So it is looked at, and a pod that stays behind is
restarted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from cnpg_plugin_operator.decide.checks import first

RELOAD_DEADLINE: Final = timedelta(minutes=3)
"""How long a pod may take: a kubelet's `syncFrequency` (1 min), its cache, a server that looks at
its files once a minute."""

LOOK_AGAIN: Final = timedelta(seconds=2)
"""While pods are expected to follow."""


class Step(StrEnum):
    """What to do about pods that present a former certificate, or trust only a former client."""

    NOTHING = "Nothing"
    """All have followed."""
    WAIT = "Wait"
    """They may still follow by themselves."""
    RESTART = "Restart"
    """They do not reload: they have to be restarted."""
    LEAVE = "Leave"
    """They were restarted, or must not be."""


@dataclass(frozen=True, slots=True)
class FollowInput:
    """What the decision is made from."""

    mode: Literal["Auto", "Restart", "None"]
    """`spec.tls.reload`"""
    behind: tuple[str, ...]
    """Names of the pods that have not followed."""
    certificates: str
    """Digest of what the pods are to have."""
    restarted_for: str
    """The digest that the pods were last restarted for."""
    changed_at: datetime | None
    """When what they are to have was last changed; None where that is not known."""
    now: datetime


def decide_following(given: FollowInput) -> Step:
    """Decide what to do about the pods."""
    return first(CHECKS, given) or Step.RESTART


def _followed(given: FollowInput) -> Step | None:
    return None if given.behind else Step.NOTHING


def _left_alone(given: FollowInput) -> Step | None:
    """The user takes care of it, or a restart has not helped: another would not, either."""
    done = given.restarted_for == given.certificates
    return Step.LEAVE if done or given.mode == "None" else None


def _in_time(given: FollowInput) -> Step | None:
    if given.changed_at is None or given.now >= given.changed_at + RELOAD_DEADLINE:
        return None
    return Step.WAIT


CHECKS: Final = (_followed, _left_alone, _in_time)
"""In order: what needs nothing first."""
