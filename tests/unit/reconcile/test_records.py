"""What the namespace's pass records: bounded like every status, and written once."""

from datetime import UTC, datetime

from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.api.untrusted import TEXT_LIMIT
from cnpg_plugin_operator.reconcile.records import Records
from tests.support.unit.builders import resource

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_reason_of_a_restart_is_bounded_and_recorded_once() -> None:
    records = Records.read([resource("hello")])
    restart = RestartRecord(NOW, reason="sidecars change (" + "1" * 4000 + ")")

    [written] = records.record_restart(["hello"], "cnpg", restart)

    recorded = written.part["cnpg"]["lastRestart"]
    assert len(recorded["reason"].encode()) <= TEXT_LIMIT
    assert records.record_restart(["hello"], "cnpg", restart) == []
