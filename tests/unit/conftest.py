"""Tells fast unit tests from slow ones: `--fast` (`make unit`) leaves the slow ones out.

Every other module has to be fast, or it fails. It must not measure by the clock: a busy machine is
no fault of a test.
"""

import resource
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.thorough import THOROUGH

HERE: Final = Path(__file__).parent

SLOW: Final = frozenset(
    {
        *("chart", "commands", "handshake", "histories", "release"),
        *("api/test_untrusted.py", "cluster/test_addresses.py", "cluster/test_client.py"),
        *("decide/sidecar/test_gate.py", "decide/sidecar/test_sidecar_set_histories.py"),
        *("kubectl/test_screens.py", "kubectl/test_status.py", "pki/test_issuing.py"),
        *("test_documentation.py", "watch/test_handlers.py", "watch/test_leadership.py"),
        *(
            f"reconcile/test_{name}.py"
            for name in (
                *("any_content", "chain", "collisions", "cooling_down", "deleting_anything"),
                *("failures", "following_pods", "moving", "mutations", "orphans", "passes"),
                *("restarts", "revoking", "second_service", "self_managed", "sidecar_trouble"),
                *("sidecars", "story", "switching", "take_over", "user_secrets", "version_skew"),
            )
        ),
    }
)
"""The folders and modules that take more than a second of a processor, or run Helm."""

MOST: Final = 4.0
"""Seconds of a processor that any other module may take in usual runs, on a busy machine."""

BEGAN: Final = pytest.StashKey[dict[Path, float]]()
"""The processor time that was used before each module."""


def is_slow(path: Path) -> bool:
    """Whether a folder or a module is left out of `make unit`."""
    inside = path.relative_to(HERE)
    return not SLOW.isdisjoint(map(str, (inside, *inside.parents)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fast`."""
    parser.addoption("--fast", action="store_true", help="leave out unit tests that take long")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what is left out."""
    return True if config.getoption("fast") and is_slow(collection_path) else None


def used() -> float:
    """Return the processor time of this process and of those that it started."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Remember when the module began."""
    item.config.stash.setdefault(BEGAN, {}).setdefault(item.path, used())
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail the test with which a module has taken too long."""
    result = yield
    took = used() - item.config.stash[BEGAN][item.path]
    if took > MOST and not (THOROUGH or is_slow(item.path)):
        pytest.fail(f"{item.path.name} takes {took:.1f} s: shorten it, or add it to SLOW", False)
    return result
