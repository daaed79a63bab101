import pytest

from cnpg_plugin_operator.api.conditions import Reason, unknown, yes
from cnpg_plugin_operator.decide.facts.cnpg_versions import RANGES, Fact
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.decide.facts.version_skew import KNOWN, add_skew, find_skew, read_skew

BARMAN = "barman-cloud.cloudnative-pg.io"
OPERA = "pgbackrest.cnpg.opera.com"
DALIBO = "pgbackrest.dalibo.com"


@pytest.mark.parametrize(
    ("plugin", "version", "cnpg", "says"),
    [
        (BARMAN, "0.14.0", "1.30.1", ()),
        (BARMAN, "0.14.0", "1.31.0", ("#11319", "Check whether", "plugin-barman-cloud #1025")),
        (BARMAN, "main", "1.31.2", ("Check whether",)),
        (BARMAN, "", "2.0.0", ("Check whether",)),
        ("klio.cnpg.io", "0.0.20", "1.31.0", ("klio #192",)),
        (OPERA, "v0.8.3", "1.31.0", ("Use version 0.9.0 or newer", "#154")),
        (OPERA, "0.9.0", "1.31.0", ()),
        (OPERA, "0.5.2", "1.28.9", ()),
        (OPERA, "0.5.2", "1.29.0", ("restore_command", "Use version 0.6.0 or newer")),
        (OPERA, "0.6.0", "1.30.1", ()),
        (OPERA, "0.5.2", "1.31.0", ("Use version 0.9.0", "Use version 0.6.0")),
        (OPERA, "unreleased", "1.31.0", ("Use version 0.9.0", "Use version 0.6.0")),
        (DALIBO, "0.0.3", "1.29.1", ("dalibo/cnpg-plugin-pgbackrest #115",)),
        (DALIBO, "0.0.3", "1.28.2", ()),
        (BARMAN, "0.14.0", "unknown", ()),
        ("hello.example.org", "1.0.0", "1.31.0", ()),
    ],
)
def test_a_pair_is_named_where_its_authors_say_that_it_does_not_work(
    plugin: str, version: str, cnpg: str, says: tuple[str, ...]
) -> None:
    found = find_skew(plugin, version, cnpg)
    assert bool(found) is bool(says)
    assert all(words in found for words in says)
    assert plugin in found or not says


def test_a_registered_plugin_stays_registered_and_its_message_warns() -> None:
    registered = yes(Reason.REGISTERED, "CloudNativePG registered Service barman.")
    warned = add_skew(registered, Identity(BARMAN, "0.14.0"), "1.31.0")
    assert (warned.status, warned.reason) == (registered.status, registered.reason)
    assert warned.message.startswith(f"{registered.message} Possible problem of {BARMAN} 0.14.0")
    assert add_skew(registered, Identity(BARMAN, "0.14.0"), "1.30.1") is registered
    assert add_skew(registered, None, "1.31.0") is registered
    waiting = unknown(Reason.AWAITING_REGISTRATION, "Service barman is published.")
    assert add_skew(waiting, Identity(BARMAN, "0.14.0"), "1.31.0") is waiting


def test_a_message_with_all_that_is_known_of_a_plugin_fits_a_condition() -> None:
    for plugin in {each.plugin for each in KNOWN}:
        assert len(find_skew(plugin, "0.0.1", "1.31.0")) < 700


@pytest.mark.parametrize("status", [{}, {"plugin": {"name": BARMAN}}, {"plugin": 1, "cnpg": []}])
def test_a_status_without_one_of_the_versions_warns_of_nothing(status: dict[str, object]) -> None:
    assert not read_skew(status)


def test_no_version_is_newer_than_those_that_the_facts_end_with() -> None:
    newest = RANGES[Fact.DISCOVERS][0][1]
    assert all(each.cnpg < newest for each in KNOWN)
