"""Whether a Secret, as a watch knows it, may be older than what cert-manager has issued."""

from typing import Any

import pytest

from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.cluster.cert_manager import is_behind
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.pki.reading import read_pair
from tests.support.tls.certificates import self_signed

ISSUED = self_signed()
PAIR = read_pair("pair", {"tls.crt": ISSUED.chain, "tls.key": ISSUED.key})
assert PAIR.leaf is not None
ENDS = format_time(PAIR.leaf.not_after)


def secret(*, watched: bool = True, empty: bool = False) -> Secret:
    pair = read_pair("pair", {}) if empty else PAIR
    return Secret("pair", {}, {"metadata": {"name": "pair"}}, pair if watched else None)


ROWS: list[tuple[str, Secret | None, dict[str, Any] | None, bool]] = [
    ("no Certificate", None, None, False),
    ("a Certificate that was never issued", None, {}, False),
    ("the Secret of the Certificate", secret(), {"notAfter": ENDS}, False),
    ("the Secret before it", secret(), {"notAfter": "2030-01-01T00:00:00Z"}, True),
    ("no Secret", None, {"notAfter": ENDS}, True),
    ("a Secret without a certificate", secret(empty=True), {"notAfter": ENDS}, True),
    ("a Secret that was read", secret(watched=False), {"notAfter": "2030-01-01T00:00:00Z"}, False),
]


@pytest.mark.parametrize(
    ("known", "status", "behind"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_secret_is_behind_its_certificate(
    known: Secret | None, status: dict[str, Any] | None, *, behind: bool
) -> None:
    certificate = None if status is None else {"metadata": {"name": "pair"}, "status": status}
    assert is_behind(known, certificate) == behind
