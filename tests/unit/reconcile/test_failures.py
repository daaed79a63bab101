"""An error is reported by the condition where it happened; the rest of the status stays."""

from typing import Any

import pytest

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import SUMMED_UP, Type
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.reconcile.failures import REPORT_AFTER, REPORT_ANY_AFTER
from tests.support.unit.fake_cluster import FakeCluster
from tests.support.unit.stage.hosting import CNPG, HostingStage
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

WORDS = "Deployment cnpg-system/hello: the API server's own words"


class FailingClient(FakeCluster):
    """Fails one kind of request while it is configured to."""

    failing: tuple[str, str] | None = None
    """Verb and kind."""
    error: Exception = errors.UnavailableError(WORDS)

    def _ask(self, verb: str, kind: kinds.Kind) -> None:
        if self.failing == (verb, kind.kind):
            raise type(self.error)(*self.error.args)

    async def get(self, kind: kinds.Kind, name: str, namespace: str | None = None) -> Any:
        self._ask("get", kind)
        return await super().get(kind, name, namespace)

    async def list(self, kind: kinds.Kind, namespace: str | None = None, **selectors: Any) -> Any:
        self._ask("list", kind)
        return await super().list(kind, namespace, **selectors)

    async def apply(self, kind: kinds.Kind, body: Any, **options: Any) -> Any:
        if options.get("subresource") is None:
            self._ask("apply", kind)
        return await super().apply(kind, body, **options)

    async def create(self, kind: kinds.Kind, body: Any) -> Any:
        self._ask("create", kind)
        return await super().create(kind, body)

    async def delete(self, kind: kinds.Kind, *args: Any, **options: Any) -> Any:
        self._ask("delete", kind)
        await super().delete(kind, *args, **options)


def failing(stage: Stage) -> FailingClient:
    """Replace the stage's client by one that can fail."""
    stage.client.__class__ = FailingClient
    assert isinstance(stage.client, FailingClient)
    return stage.client


async def ready() -> tuple[Stage, FailingClient]:
    stage = Stage()
    client = failing(stage)
    stage.create()
    await stage.settle()
    assert stage.condition() == ("True", "Ready")
    return stage, client


def statuses(stage: Stage) -> dict[str, str]:
    return {kind: stage.condition(kind)[0] for kind in SUMMED_UP}


ALL_TRUE = dict.fromkeys(SUMMED_UP, "True")

FAILURES = [
    errors.ForbiddenError(WORDS),
    errors.UnavailableError(WORDS),
    errors.BusyError(WORDS),
    errors.ConflictError(WORDS),
    errors.NotFoundError(WORDS),
    errors.KindMissingError(WORDS),
    errors.UnauthorizedError(WORDS),
]


async def test_a_refused_value_fails_only_its_own_stage_and_at_once() -> None:
    stage, client = await ready()
    client.failing, client.error = ("apply", "Deployment"), errors.RejectedError(WORDS)
    stage.edit(image="example.org/hello:2")
    registered = dict(stage.client.the(kinds.PLUGIN, "hello")["status"]["cnpg"])
    await stage.visit()

    assert stage.condition("Available") == ("False", "InvalidSpec")
    assert WORDS in stage.message("Available")
    assert stage.message() == stage.message("Available")
    assert statuses(stage) == {**ALL_TRUE, Type.AVAILABLE: "False"}
    assert stage.client.the(kinds.PLUGIN, "hello")["status"]["cnpg"] == registered


async def test_kept_conditions_keep_their_generation() -> None:
    stage, client = await ready()
    client.failing, client.error = ("apply", "Deployment"), errors.RejectedError(WORDS)
    stage.edit(image="example.org/hello:2")
    await stage.visit()
    found = {
        c["type"]: c["observedGeneration"]
        for c in stage.client.the(kinds.PLUGIN, "hello")["status"]["conditions"]
    }

    assert found["Available"] == found["Ready"] == 2
    assert found["Registered"] == 1


@pytest.mark.parametrize("error", FAILURES)
async def test_a_permanent_failure_is_reported_after_a_few_attempts(error: Exception) -> None:
    stage, client = await ready()
    client.failing, client.error = ("apply", "Deployment"), error
    stage.edit(image="example.org/hello:2")
    before = stage.client.the(kinds.PLUGIN, "hello")["status"]
    for _ in range(REPORT_AFTER - 1):
        await stage.visit()
    untold = stage.client.the(kinds.PLUGIN, "hello")["status"]
    await stage.visit()

    assert untold == before
    assert stage.condition("Available") == ("False", "ClusterError")
    assert WORDS in stage.message("Available")
    assert statuses(stage) == {**ALL_TRUE, Type.AVAILABLE: "False"}
    client.failing = None
    await stage.settle()
    assert stage.condition() == ("True", "Ready")


@pytest.mark.parametrize("error", FAILURES)
async def test_a_permanent_failure_is_reported_on_a_new_resource(error: Exception) -> None:
    stage = Stage()
    client = failing(stage)
    client.failing, client.error = ("apply", "Deployment"), error
    stage.create()
    await stage.settle()

    assert stage.condition("Available") == ("False", "ClusterError")
    assert stage.condition("Accepted") == ("True", "Accepted")
    assert stage.condition("Registered") == ("Unknown", "NotYetReported")


async def test_an_api_server_that_starts_again_is_not_reported() -> None:
    """While it was away, all passes failed; then it refuses some, as forbidden (1.34)."""
    stage, client = await ready()
    client.failing = ("apply", "Deployment")
    stage.edit(image="example.org/hello:2")
    before = stage.client.the(kinds.PLUGIN, "hello")["status"]
    for error, passes in (
        (errors.UnavailableError, REPORT_AFTER - 1),
        (errors.BusyError, REPORT_AFTER - 1),
        (errors.ForbiddenError, REPORT_AFTER - 1),
    ):
        client.error = error(WORDS)
        for _ in range(passes):
            await stage.visit()

    assert stage.client.the(kinds.PLUGIN, "hello")["status"] == before


async def test_failures_of_alternating_kinds_are_reported_in_the_end() -> None:
    stage, client = await ready()
    client.failing = ("apply", "Deployment")
    stage.edit(image="example.org/hello:2")
    for number in range(REPORT_ANY_AFTER):
        assert stage.condition("Available") == ("True", "Available"), number
        client.error = (errors.ConflictError, errors.NotFoundError)[number % 2](WORDS)
        await stage.visit()

    assert stage.condition("Available") == ("False", "ClusterError")


async def test_a_success_resets_the_count_of_failures() -> None:
    stage, client = await ready()
    for _ in range(REPORT_AFTER):
        client.failing = ("list", "Pod")
        await stage.visit()
        client.failing = None
        await stage.visit()

    assert stage.condition() == ("True", "Ready")


READS = [
    ("Pod", Type.AVAILABLE, REPORT_AFTER),
    ("Cluster", Type.REGISTERED, REPORT_AFTER),
    ("Event", Type.REGISTERED, REPORT_AFTER),
    # The namespace's pass reads it, after that of the plugin.
    ("Issuer", Type.CERTIFICATES_READY, REPORT_AFTER + 1),
    ("CNPGPlugin", Type.ACCEPTED, REPORT_AFTER),
]


@pytest.mark.parametrize(("kind", "condition", "visits"), READS)
async def test_a_failed_read_is_reported_by_the_condition_that_needs_it(
    kind: str, condition: Type, visits: int
) -> None:
    stage, client = await ready()
    client.failing = ("list", kind)
    client.unknown = {kind: errors.UnavailableError(WORDS)}
    for _ in range(visits):
        untold = statuses(stage)
        await stage.visit()

    assert untold == ALL_TRUE
    assert stage.condition(condition) == ("False", "ClusterError")
    assert statuses(stage) == {**ALL_TRUE, condition: "False"}
    assert stage.condition()[0] == "False"


async def test_ready_reports_a_failed_read_of_a_new_resource() -> None:
    stage = Stage()
    client = failing(stage)
    client.unknown = {"Cluster": errors.UnavailableError(WORDS)}
    stage.create()
    await stage.settle()

    assert stage.condition() == ("False", "ClusterError")
    assert WORDS in stage.message()


async def test_an_unexpected_error_is_reported_without_the_values_it_names() -> None:
    stage, client = await ready()
    client.failing, client.error = ("list", "Pod"), ValueError("swordfish")
    await stage.visit()

    assert stage.condition("Accepted") == ("False", "InternalError")
    assert "ValueError" in stage.message()
    assert "swordfish" not in stage.public_text()


async def test_a_refused_event_affects_nothing_else() -> None:
    stage = Stage()
    client = failing(stage)
    client.failing, client.error = ("create", "Event"), errors.ForbiddenError(WORDS)
    stage.create(port="none")
    await stage.settle(passes=2)
    stage.edit(port=9090)
    await stage.settle()

    assert stage.condition() == ("True", "Ready")


async def test_a_deletion_reports_what_is_refused_and_continues_by_itself() -> None:
    stage, client = await ready()
    client.failing, client.error = ("delete", "Service"), errors.ForbiddenError(WORDS)
    stage.delete()
    await stage.settle(passes=3)

    assert stage.condition("Accepted") == ("False", "Deleting")
    assert WORDS in stage.message()
    assert stage.condition()[0] == "False"
    client.failing = None
    await stage.settle(passes=3)
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


async def test_a_refused_deletion_of_a_sidecar_continues_by_itself() -> None:
    stage = HostingStage()
    client = failing(stage)
    stage.create()
    await stage.until()
    client.failing, client.error = ("apply", "Deployment"), errors.ForbiddenError(WORDS)
    stage.delete()
    await stage.pass_by(60)
    refused, message = stage.condition("Accepted"), stage.message()
    client.failing = None
    await stage.pass_by(60)

    assert refused == ("False", "Deleting")
    assert WORDS in message
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects
    assert stage.sidecars == {}


async def test_a_single_wrong_answer_does_not_end_the_loop_of_a_resource() -> None:
    stage, client = await ready()
    client.failing, client.error = ("get", "CNPGPlugin"), errors.NotFoundError(WORDS)
    client.unknown = {"CNPGPlugin": errors.UnavailableError(WORDS)}
    wrong = await stage.reconciler.reconcile((NAMESPACE, "hello"))
    client.failing = None
    gone = await stage.reconciler.reconcile((NAMESPACE, "never-was"))

    assert wrong.after is not None
    assert isinstance(wrong.error, errors.UnavailableError)
    assert gone.after is None


async def test_a_sidecar_whose_finalizer_was_removed_by_hand_is_removed() -> None:
    stage = HostingStage()
    stage.create()
    await stage.until()
    del stage.client.objects["CNPGPlugin", NAMESPACE, "hello"]
    await stage.pass_by(30)

    assert stage.sidecars == {}
    assert names.annotations.SIDECARS not in str(stage.client.the(kinds.DEPLOYMENT, CNPG)["spec"])


async def test_a_sidecar_orphaned_while_no_operator_ran_is_removed() -> None:
    """There may be no resource in its namespace, hence no pass of a plugin."""
    stage = HostingStage()
    stage.create()
    await stage.until()
    del stage.client.objects["CNPGPlugin", NAMESPACE, "hello"]
    stage.reconciler = stage.operator()
    for _ in range(15):
        await stage.run_pass((NAMESPACE,))
        stage.turn(2)

    assert stage.sidecars == {}
