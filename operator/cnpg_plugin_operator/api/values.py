"""The values that the fields of a spec can have: the CRD's patterns and limits, as types.

Only what several fields share, or what would hide a model behind a pattern, is here.
"""

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from cnpg_plugin_operator.api.durations import parse_duration

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
"""A Go duration string such as `2160h` or `5s`."""


def refuse_address(text: str) -> str:
    """Refuse an IP address: no client matches one against a certificate's DNS names."""
    if all(part.isdigit() for part in text.split(".")):
        raise ValueError("must be a DNS name, not an IP address")
    return text


_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{_SUBDOMAIN}$")]
"""Name of an object: a lower-case DNS name. The CRD has the same patterns."""

ServiceName = Annotated[
    str, Field(min_length=1, max_length=63, pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$")
]
"""Name of a Service, which DNS limits further."""

RoleName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[^\s/%]*[^\s/%.][^\s/%]*$")
]
"""Name of a Role or ClusterRole: any segment of a path."""

KindName = Annotated[str, Field(min_length=1, max_length=63, pattern="^[A-Za-z][A-Za-z0-9]*$")]
"""Name of a kind of the API."""

DNSPattern = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=rf"^(\*\.)?{_SUBDOMAIN}$"),
    AfterValidator(refuse_address),
]
"""A DNS name of a certificate; the first label may be `*`."""

Label = Annotated[
    str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
]
"""Value of a label."""

Labels = Annotated[dict[str, Label], Field(max_length=64)]

Annotations = Annotated[dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=64)]

Port = Annotated[int, Field(ge=1, le=65535)]

PortName = Annotated[
    str, Field(min_length=1, max_length=15, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]

Share = int | Annotated[str, Field(pattern="^[0-9]+%?$")]
"""A number of pods, or a percentage."""

Word = Annotated[str, Field(max_length=8192)]
"""One word of a command line."""

FileName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[_a-zA-Z0-9][-._a-zA-Z0-9]*$")
]
"""Name of a file in a directory of TLS files, which must not begin with a dot."""

_DIRECTORY: Final = r"^(/([^\s/:.]|\.[^\s/:.]|\.\.[^\s/:])[^\s/:]*)+$"
"""No part of it is `.` or `..`."""

Directory = Annotated[str, Field(max_length=255, pattern=_DIRECTORY)]
"""Directory in the container, absolute and without a `/` at the end."""

Tree = dict[str, Any]
"""A part of a Pod that is passed on unchanged; the API server validates it."""
