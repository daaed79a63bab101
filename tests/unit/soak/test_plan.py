"""What disturbs a soak."""

from itertools import islice

from tests.soak.plan import CALLED, OF_A_PLUGIN, PLUGINS, USED, Act, disturbances


def test_a_seed_gives_the_same_disturbances_again() -> None:
    assert [*islice(disturbances(7), 50)] == [*islice(disturbances(7), 50)]
    assert [*islice(disturbances(7), 50)] != [*islice(disturbances(8), 50)]


def test_everything_happens_within_two_hours_and_to_every_plugin_that_can_be_called() -> None:
    seen = [*islice(disturbances(1), 200)]

    assert {each.act for each in seen} == {*Act}
    assert {each.plugin for each in seen if each.plugin} == {*CALLED}
    assert all((each.plugin is not None) == (each.act in OF_A_PLUGIN) for each in seen)


def test_a_plugin_that_clusters_use_is_not_deleted() -> None:
    deleted = {each.plugin for each in islice(disturbances(1), 500) if each.act is Act.RECREATE}

    assert deleted.isdisjoint(PLUGINS[:USED])


def test_certificates_that_users_provide_are_not_renewed() -> None:
    renewed = [each.plugin for each in islice(disturbances(1), 500) if each.act is Act.RENEW]

    assert {each.kind.provider for each in renewed if each} == {"CertManager", "SelfManaged"}
