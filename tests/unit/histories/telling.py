"""Random histories: which steps, how often each of them, and with what."""

from typing import Any, Final

from hypothesis import strategies

from cnpg_plugin_operator import names
from tests.unit.histories.stage import PLUGINS
from tests.unit.histories.steps import (
    ACTS,
    ANSWERS,
    CHILDREN,
    CREATED,
    DAMAGES,
    EDITS,
    READ,
    SECRETS,
    Step,
)

_NAME = strategies.sampled_from(PLUGINS)
_TRUTH = strategies.booleans()


def _choice(*options: Any) -> strategies.SearchStrategy[Any]:
    return strategies.sampled_from(options)


def _each(*suffixes: str) -> list[str]:
    return [name + suffix for name in PLUGINS for suffix in suffixes]


def _number(options: tuple[Any, ...]) -> strategies.SearchStrategy[int]:
    return strategies.integers(0, len(options) - 1)


GIVEN: Final[dict[str, tuple[strategies.SearchStrategy[Any], ...]]] = {
    "create": (_NAME, _number(CREATED)),
    "edit": (_NAME, _number(EDITS)),
    "delete": (_NAME,),
    "renew": (_NAME,),
    "renew_authority": (
        _choice(names.children.OWN_ROOT, names.children.OWN_INTERMEDIATE, *_each("-plugin-ca")),
    ),
    "reissue": (_choice(names.children.CHAIN_INTERMEDIATE, *_each("-server-tls", "-client-tls")),),
    "slow_down": (_choice(0, 30, 90), _choice(0, 0, 20)),
    "use": (_NAME,),
    "abandon": (_NAME,),
    "remove": (_NAME, _choice(*CHILDREN), _choice(*SECRETS)),
    "damage": (_NAME, _number(DAMAGES)),
    "rival": (_NAME,),
    "no_rival": (_NAME,),
    "scale_cnpg": (_choice(0, 1),),
    "fail": (strategies.integers(0, 12), _TRUTH),
    "lose_kind": (_choice("cert-manager", *READ),),
    "delay_watches": (_TRUTH,),
    "answer": (_NAME, _number(ANSWERS)),
    "recover": (_NAME,),
    "crash": (_choice(1, 2),),
    "jump": (_choice(30, 700, 7200, 86400, -30, -3600),),
}


CALM: Final = tuple(
    number
    for number, change in enumerate(EDITS)
    if change.keys() & {"port", "replicas", "args", "tls"} and change.get("mode") != "Sidecar"
)
"""The edits that let a plugin answer as before."""


def _steps(act: str, **narrower: strategies.SearchStrategy[Any]) -> strategies.SearchStrategy[Step]:
    given = narrower.get(act, strategies.tuples(*GIVEN.get(act, ())))
    return strategies.builds(Step, strategies.just(act), given, strategies.integers(0, 3))


WEIGHTS: Final = {
    "edit": 5,
    "damage": 3,
    "remove": 3,
    "fail": 3,
    "create": 2,
    "delete": 2,
    "jump": 2,
}
"""How often an act is tried, where more often than the others."""

_ACTS: Final = [act for act in ACTS for _ in range(WEIGHTS.get(act, 1))]

HISTORIES: Final = strategies.tuples(
    strategies.lists(_steps("create"), min_size=1, max_size=3),
    strategies.lists(strategies.sampled_from(_ACTS).flatmap(_steps), min_size=1, max_size=16),
).map(lambda parts: [*parts[0], *parts[1]])
"""Anything may happen."""

_CALM_ACTS: Final = (
    *("edit", "edit", "edit", "renew", "renew_authority", "reissue"),
    *("fail", "kill", "jump", "delay_watches", "slow_down", "slow_down"),
)

CALM_HISTORIES: Final = strategies.lists(
    strategies.sampled_from(_CALM_ACTS).flatmap(
        lambda act: _steps(
            act,
            edit=strategies.tuples(_NAME, strategies.sampled_from(CALM)),
            jump=strategies.tuples(_choice(30, 700, 7200)),
        )
    ),
    min_size=1,
    max_size=12,
)
"""What users may do, and what may fail, without any call of a plugin failing."""
