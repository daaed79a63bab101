"""Rules between the fields of a spec, which the CRD has in CEL as well.

They are repeated here because a resource may have been stored before a rule existed. What a rule
needs beside the spec itself belongs to `decide.acceptance`.
"""

from typing import Final

from pydantic.alias_generators import to_camel

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.spec import (
    SHORTEST_INTERVAL,
    TIMEOUTS,
    DeletionPolicy,
    Mode,
    Provider,
    Spec,
)

SIDECAR_FIELDS: Final = frozenset(
    {
        "plugin_name",
        "mode",
        "image",
        "image_pull_policy",
        "image_pull_secrets",
        "command",
        "args",
        "server_arguments",
        "env",
        "env_from",
        "resources",
        "volumes",
        "volume_mounts",
        "probes",
        "security_context",
        "service_account",
        "cnpg",
        "upgrade_policy",
        "handshake",
        "deletion_policy",
        "suspend",
    }
)
"""The fields of a container in CloudNativePG's pod. All others describe a pod, a Service or a
certificate, and a sidecar has none of its own."""

_POD_DEFAULTS: Final = {
    field: definition.get_default(call_default_factory=True)
    for field, definition in Spec.model_fields.items()
    if field not in SIDECAR_FIELDS
}
"""All others with their defaults, which pydantic would copy for each resource."""


def find_contradictions(spec: Spec) -> list[str]:
    """List the fields that contradict each other; the CRD has the same rules in CEL."""
    tls = spec.tls
    own = tls.provider is Provider.SECRETS
    one_secret = tls.secrets is not None and tls.secrets.server == tls.secrets.client
    scoped = tls.issuer_scope == "Plugin"
    rules = (
        (own and tls.secrets is None, "secrets: required with provider Secrets"),
        (tls.secrets is not None and not own, "secrets: needs provider: Secrets"),
        (one_secret, "secrets: server and client must be two Secrets"),
        (
            tls.issuer_ref is not None and tls.provider not in (None, Provider.CERT_MANAGER),
            "issuerRef: needs provider: CertManager",
        ),
        (
            scoped and tls.issuer_ref is not None,
            "issuerScope: Plugin and issuerRef exclude each other",
        ),
        (scoped and own, "issuerScope: Plugin and provider: Secrets exclude each other"),
    )
    found = [f"spec.tls.{says}" for broken, says in rules if broken]
    account = spec.service_account
    if (
        account.create
        and account.name
        and not account.name.startswith(names.children.ACCOUNT_PREFIX)
    ):
        found.append(
            "spec.serviceAccount.name: with create: true it must begin with "
            f"{names.children.ACCOUNT_PREFIX}, like every account that the operator creates"
        )
    found += _find_excesses(spec)
    if spec.mode is Mode.SIDECAR:
        found += _find_foreign_to_sidecars(spec)
    return found


def _find_excesses(spec: Spec) -> list[str]:
    """List the values that would cost the operator too much; the CRD has the same bounds."""
    shortest, longest = TIMEOUTS
    rules = (
        (
            not spec.tls.private_key.is_usable,
            "tls.privateKey: size must be 256 or 384 for ECDSA and 2048 to 4096 for RSA",
        ),
        (
            not shortest <= spec.handshake.timeout <= longest,
            "handshake.timeout: must be between 1s and 30s",
        ),
        (
            spec.handshake.interval < SHORTEST_INTERVAL,
            "handshake.interval: must be at least 10s",
        ),
    )
    return [f"spec.{says}" for broken, says in rules if broken]


def _find_foreign_to_sidecars(spec: Spec) -> list[str]:
    """List the fields without effect in mode Sidecar, or that keep CloudNativePG from starting.

    Values that equal the default are fine: the API server fills them in.
    """
    foreign = [
        f"spec.{to_camel(field)}"
        for field, default in _POD_DEFAULTS.items()
        if getattr(spec, field) != default
    ]
    meaning = "no effect in mode Sidecar, because the pod is CloudNativePG's: remove"
    found = [f"{', '.join(foreign)}: {meaning} all of them at once"] if foreign else []
    if spec.deletion_policy is DeletionPolicy.ORPHAN:
        found.append(
            "spec.deletionPolicy: a sidecar cannot remain without its resource; set it to "
            "WaitForClusters or Delete"
        )
    account = spec.service_account
    if account.create or account.annotations:
        found.append(
            "spec.serviceAccount: a sidecar uses CloudNativePG's account; remove create and "
            "annotations"
        )
    probes = spec.probes
    for name, probe, effect in (
        ("startup", probes.startup, "starting"),
        ("readiness", probes.readiness, "becoming ready"),
    ):
        if probe:
            found.append(
                f"spec.probes.{name}: would keep CloudNativePG itself from {effect}; remove it, "
                "the gate checks the sidecar's socket instead"
            )
    return found
