"""The Service before and after the announcement."""

from cnpg_plugin_operator import names
from cnpg_plugin_operator.desired.service import build_endpoint, build_service
from tests.support.unit.builders import plugin


def test_nodes_route_to_a_starting_plugin_only_until_cloudnativepg_may_call_it() -> None:
    hidden = build_service(plugin(), None)
    published = build_service(plugin(), build_endpoint(plugin()))

    assert names.cnpg.PLUGIN_NAME not in hidden["metadata"]["labels"]
    assert hidden["spec"]["publishNotReadyAddresses"] is True
    assert published["metadata"]["labels"][names.cnpg.PLUGIN_NAME] == plugin().spec.plugin_name
    assert published["spec"]["publishNotReadyAddresses"] is False
    several = build_service(plugin(replicas=2), None)
    assert several["spec"]["publishNotReadyAddresses"] is False, "one of them may be a standby"
