"""Tells fast unit tests from slow ones: `--fast` (`make unit`) leaves the slow ones out.

`make unit` names the tests that take longest at its end, so that a module that has become slow is
noticed, and listed here.
"""

from pathlib import Path
from typing import Final

import pytest

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
