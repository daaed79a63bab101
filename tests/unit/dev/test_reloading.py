"""`make dev`: when the program starts again, and where it refuses to run."""

import os
import sys
from pathlib import Path

import pytest

from tests.cluster.errors import ClusterError
from tests.demo.existing import Existing
from tests.dev import __main__ as dev


class Told(Existing):
    """A cluster with these operators."""

    def __init__(self, deployments: str) -> None:
        self._deployments = deployments

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        return self._deployments


def test_a_changed_new_or_deleted_module_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "package" / "module.py"
    module.parent.mkdir()
    module.write_text("a = 1")
    first = dev.state_of(tmp_path)
    assert dev.state_of(tmp_path) == first
    os.utime(module, ns=(0, 0))
    assert dev.state_of(tmp_path) != first
    (module.parent / "other.py").touch()
    assert len(dev.state_of(tmp_path)) == 2
    module.unlink()
    assert len(dev.state_of(tmp_path)) == 1


def test_a_change_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "LOOK_SECONDS", 0.0)
    looks = iter([False, False, True])
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    assert dev.run_until(lambda: next(looks), argv, os.environ) is None


def test_the_status_of_a_program_that_ends_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "LOOK_SECONDS", 0.01)
    argv = [sys.executable, "-c", "raise SystemExit(3)"]
    assert dev.run_until(lambda: False, argv, os.environ) == 3


@pytest.mark.parametrize("found", ["", "operators 0\n"])
def test_it_runs_where_no_other_does(found: str) -> None:
    dev.require_no_other(Told(found))


def test_it_refuses_to_run_beside_an_installed_operator() -> None:
    with pytest.raises(ClusterError, match=r"--namespace operators .* --replicas=0"):
        dev.require_no_other(Told("operators 1\n"))
