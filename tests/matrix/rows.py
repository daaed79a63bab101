"""The rows and columns of the matrix, and how often CloudNativePG may be rolled in each cell.

What a version costs is written down here, from CloudNativePG's source, and not taken from the
operator: a matrix that asks the operator would only show that it agrees with itself.
"""

from dataclasses import dataclass
from typing import Final

from tests.cluster.builds import CNPG_VERSIONS, KUBERNETES_VERSIONS


@dataclass(frozen=True)
class Column:
    """What the tests run on."""

    cnpg: str
    kubernetes: str = KUBERNETES_VERSIONS[0]

    def __str__(self) -> str:
        default = self.kubernetes == KUBERNETES_VERSIONS[0]
        return self.cnpg if default else f"{self.cnpg}-kubernetes-{self.kubernetes}"


COLUMNS: Final = (
    *map(Column, CNPG_VERSIONS),
    *(Column(CNPG_VERSIONS[-1], version) for version in KUBERNETES_VERSIONS[1:]),
)
"""Every version of CloudNativePG that can be built, and the newest on other Kubernetes versions."""

KEEPING: Final = frozenset({"1.24.0", "1.25.0", "1.25.1"})
"""The versions that keep what they read about a plugin until they exit (#7029)."""


@dataclass(frozen=True)
class Row:
    """What is tried with every version."""

    title: str
    rolls: tuple[int, ...] = (0,)
    """How often CloudNativePG may be rolled meanwhile."""
    rolls_where_kept: tuple[int, ...] | None = None
    """The same for `KEEPING`, where it differs."""

    def allowed(self, version: str) -> tuple[int, ...]:
        """How often this version of CloudNativePG may be rolled."""
        if self.rolls_where_kept is not None and version in KEEPING:
            return self.rolls_where_kept
        return self.rolls


ONCE: Final = (1,)
AT_MOST_ONCE: Final = (0, 1)

ROWS: Final[dict[str, Row]] = {
    "test_a_new_plugin_is_found": Row("a new plugin is found and used"),
    "test_a_registration_is_seen": Row("its registration is seen"),
    "test_a_database_with_a_plugin_is_healthy": Row("a PostgreSQL with it is healthy"),
    "test_a_changed_port_is_used": Row("a changed port is used", rolls_where_kept=ONCE),
    "test_another_service_is_used": Row("its Service gets another name", rolls_where_kept=ONCE),
    "test_renewed_certificates_fail_no_call": Row(
        "certificates are renewed, no call fails", rolls_where_kept=ONCE
    ),
    "test_a_previous_installation_is_taken_over": Row(
        "a plugin deployed by hand is taken over, no call fails", rolls_where_kept=ONCE
    ),
    "test_a_newer_image_is_shown": Row(
        "Clusters show a newer image", rolls_where_kept=AT_MOST_ONCE
    ),
    "test_a_sidecar_is_used": Row("a sidecar is used", rolls=ONCE),
    "test_a_forbidden_restart_is_reported": Row("a restart policy is obeyed"),
    "test_a_recreated_plugin_is_used": Row(
        "a plugin is deleted and created again", rolls_where_kept=ONCE
    ),
    "test_a_deleted_plugin_leaves_nothing": Row("a deleted plugin leaves nothing"),
    "test_a_finalizer_of_cloudnativepg_blocks_nothing": Row(
        "CNPG's finalizer on the Service blocks nothing"
    ),
    "test_a_temporary_second_service_costs_nothing": Row("a second Service comes and goes"),
}
"""By the names of the tests in `test_versions.py`."""
