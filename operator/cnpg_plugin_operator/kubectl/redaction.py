"""What a report may contain: everything but secrets.

Of a Secret, only the names of its keys and the public facts of its certificates remain. Values that
a pod gets through its environment or its arguments may be secrets as well, so only the operator's
own settings and a few of CloudNativePG's keep theirs. Last, each text is searched for what looks
like a private key or a token, wherever it came from.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts
from cnpg_plugin_operator.pki.reading import AUTHORITIES, TLS_CERTIFICATE, read_certificates
from cnpg_plugin_operator.settings import PREFIX

REDACTED: Final = "(redacted)"

_SAFE_VARIABLES: Final = frozenset(
    {
        "OPERATOR_IMAGE_NAME",
        "OPERATOR_NAMESPACE",
        "WATCH_NAMESPACE",
        "PLUGIN_SOCKET_DIR",
        "MONITORING_QUERIES_CONFIGMAP",
        "NO_PROXY",
        "no_proxy",
    }
)
"""CloudNativePG's variables that say how it works; the addresses of proxies may have passwords."""

_COPIES: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""An annotation that repeats the whole object, as it was before it was redacted."""

_ARGUMENT: Final = re.compile(
    r"^(?P<name>-{0,2}[\w.-]*(?:password|passwd|token|secret|credential|key)[\w.-]*)=.*",
    re.IGNORECASE | re.DOTALL,
)

_PATTERNS: Final = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]{40,}"),
    re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"),
    re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{12,}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
)
"""PEM, its base64 form, a JSON Web Token, a bearer token, and the credentials in a URL."""


def redact_object(body: Mapping[str, Any]) -> dict[str, Any]:
    """Copy an object without what may be secret, and without copies of itself."""
    copy = {key: _redact(value) for key, value in body.items()}
    metadata = dict(mapping(copy.get("metadata")))
    metadata.pop("managedFields", None)
    if _COPIES in mapping(metadata.get("annotations")):
        metadata["annotations"] = {**metadata["annotations"], _COPIES: REDACTED}
    return {**copy, "metadata": metadata}


def _redact(value: object, field: str = "") -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(value, Mapping):
        if field == "env" and "value" in value and not _is_safe(str(value.get("name", ""))):
            return {**{k: _redact(v) for k, v in value.items()}, "value": REDACTED}
        return {key: _redact(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_redact(each, field) for each in value]
    if isinstance(value, str) and field in ("args", "command") and (hit := _ARGUMENT.match(value)):
        return value if _names_file(value) else f"{hit['name']}={REDACTED}"
    return value


def _is_safe(variable: str) -> bool:
    return variable.startswith(PREFIX) or variable in _SAFE_VARIABLES


def _names_file(argument: str) -> bool:
    """Whether an argument gives the path of a file, or a variable that has one."""
    return argument.partition("=")[2].startswith(("/", "$("))


def redact_secret(body: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a Secret: its keys, and the facts of its certificates."""
    metadata, data = body["metadata"], mapping(body.get("data"))
    return {
        "namespace": metadata.get("namespace"),
        "name": metadata.get("name"),
        "type": body.get("type"),
        "labels": metadata.get("labels") or {},
        "created": metadata.get("creationTimestamp"),
        "keys": sorted(data),
        "certificates": {
            key: [_describe(each) for each in read_certificates(_decode(data[key]))]
            for key in (TLS_CERTIFICATE, AUTHORITIES, "clients.crt")
            if key in data
        },
    }


def _decode(text: object) -> bytes:
    try:
        return base64.b64decode(str(text))
    except ValueError:
        return b""


def _describe(certificate: CertificateFacts) -> dict[str, Any]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "dnsNames": list(certificate.dns_names),
        "notBefore": format_time(certificate.not_before),
        "notAfter": format_time(certificate.not_after),
        "keyType": certificate.key_type,
        "isCA": certificate.is_ca,
        "sha256": certificate.fingerprint,
    }


def redact_text(text: str) -> str:
    """Remove from a text what looks like a private key, a token or a password in a URL."""
    for pattern in _PATTERNS:
        text = pattern.sub(REDACTED, text)
    return text
