"""Write loops: frequent writes are paused, and the record of a quiet object is dropped."""

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster.write_guard import Key, WriteGuard

KEY: Key = ("Service", "cnpg-system", "hello")
OTHER: Key = ("Service", "cnpg-system", "other")


class Minutes:
    """A guard whose clock is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stopped: list[Key] = []
        self.guard = WriteGuard(self.stopped.append, lambda: self.now)

    def write(self, digest: str = "a", key: Key = KEY) -> bool:
        try:
            self.guard.admit(key, digest, "spec.type", None)
        except errors.WriteLoopError:
            return False
        self.guard.record(key, digest)
        return True

    def writes(self, seconds: int, *digests: str) -> int:
        """Try once a second; count the admitted writes."""
        done = 0
        for second in range(seconds):
            done += self.write(digests[second % len(digests)])
            self.now += 1
        return done


def test_one_state_is_written_at_most_ten_times_a_minute() -> None:
    minutes = Minutes()
    assert minutes.writes(20, "a") == 10
    assert minutes.stopped == [KEY]
    assert minutes.write(key=OTHER)


def test_alternating_states_do_not_evade_the_limit() -> None:
    assert Minutes().writes(60, "a", "b") <= 22


def test_changing_states_are_written_at_most_forty_times_a_minute() -> None:
    minutes = Minutes()
    assert sum(minutes.write(str(n)) for n in range(100)) == 40


def test_a_continuing_loop_is_tried_at_growing_intervals() -> None:
    minutes = Minutes()
    minutes.writes(60, "a")
    assert minutes.writes(3600, "a") <= 22


def test_ordinary_writes_are_never_delayed() -> None:
    minutes = Minutes()
    for _ in range(200):
        assert minutes.write()
        minutes.now += 6.1
    assert minutes.stopped == []


def test_a_quiet_minute_resets_the_limits() -> None:
    minutes = Minutes()
    minutes.writes(20, "a")
    minutes.now += 90
    assert minutes.writes(10, "a") == 10
    minutes.now += 1000
    assert minutes.write(key=OTHER)
    assert list(minutes.guard._records) == [OTHER]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ([{"manager": "cnpg-plugin-operator"}], "spec.type. The"),
        ([{"manager": "helm", "time": "1"}, {"manager": "argocd", "time": "2"}], "manager argocd"),
        ([{"manager": "kubelet", "subresource": "status"}], "spec.type. The"),
    ],
)
def test_the_message_names_who_else_writes(fields: list[dict[str, str]], named: str) -> None:
    minutes = Minutes()
    minutes.writes(10, "a")
    with pytest.raises(errors.WriteLoopError) as stopped:
        minutes.guard.admit(KEY, "a", "spec.type", {"metadata": {"managedFields": fields}})
    assert named in str(stopped.value)
