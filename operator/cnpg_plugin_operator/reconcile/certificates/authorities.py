"""The operator's own authorities: reading their Secrets, and signing an intermediate by the root.

The namespace's pass keeps the shared ones; a plugin's pass reads them, and keeps none but an
intermediate of its own.
"""

from datetime import datetime

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster.secrets import Secret
from cnpg_plugin_operator.decide.certificates.chain import AuthorityFacts
from cnpg_plugin_operator.decide.facts.plugin import PairFacts
from cnpg_plugin_operator.desired.certificates import INTERMEDIATE_LIFETIME
from cnpg_plugin_operator.desired.pairs import encode
from cnpg_plugin_operator.pki.issuing import (
    Authority,
    IssuedPair,
    issue_intermediate,
    read_authority,
)
from cnpg_plugin_operator.pki.reading import (
    AUTHORITIES,
    TLS_CERTIFICATE,
    read_certificates,
    read_pair,
)


def is_shared(secret: Secret) -> bool:
    """Whether a Secret is a part of the chain.

    One of its labels is enough: others may change one, and every plugin of the namespace depends
    on it.
    """
    managed = secret.labels.get(names.labels.MANAGED_BY) == names.resource.OPERATOR
    return managed or names.labels.CHAIN in secret.labels


def read_shared_authority(name: str, secret: Secret | None) -> AuthorityFacts:
    """Read an authority of the chain."""
    owner = None if secret is None or is_shared(secret) else "another owner"
    written_at = secret.written_at if secret is not None else None
    data = secret.data if secret is not None else None
    return describe_authority(read_pair(name, data, owner=owner, written_at=written_at), secret)


def restore_trust(root: Secret) -> dict[str, str]:
    """Give the `ca.crt` of a root that has lost itself from it: itself, and what is left there."""
    left = root.data.get(AUTHORITIES, b"")
    kept = left if read_certificates(left) else b""
    return encode({AUTHORITIES: root.data[TLS_CERTIFICATE] + kept})


def describe_authority(pair: PairFacts, secret: Secret | None) -> AuthorityFacts:
    """Add to a pair whether it can sign, and when a user asked for another."""
    return AuthorityFacts(
        pair=pair,
        can_sign=secret is not None and read_authority(secret.data) is not None,
        requested_at=secret.renew_requested_at if secret is not None else None,
    )


def open_authority(name: str, secret: Secret | None) -> Authority:
    """Read the key of an authority that was usable a moment ago."""
    found = read_authority(secret.data) if secret is not None else None
    if found is None:
        raise errors.ConflictError(f"Secret {name} changed meanwhile")
    return found


def issue_below(root_name: str, root: Secret | None, subject: str, now: datetime) -> IssuedPair:
    """Issue an intermediate that a root signs."""
    signer, lifetime = open_authority(root_name, root), INTERMEDIATE_LIFETIME
    return issue_intermediate(
        signer, subject, lifetime=lifetime, now=now, authorities=signer.authorities
    )
