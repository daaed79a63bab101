"""What the API server's answers mean.

Status codes and words become this program's errors, the lines of a watch its events, and every
object gets the shape that all Kubernetes objects have.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

import aiohttp

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.library import ApiException

Found = TypeVar("Found")

_STATUS_ERRORS: Final[Mapping[int, type[errors.ClusterError]]] = {
    400: errors.ForbiddenError,
    401: errors.UnauthorizedError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    410: errors.ExpiredError,
    422: errors.ForbiddenError,
}
"""Exceptions by status code; `_names_field` distinguishes the meanings of 400 and 422."""

_FIELD_AT_FAULT: Final = (
    "failed to create typed patch object",
    "field not declared in schema",
    "strict decoding error",
    "unknown field",
    "cannot be handled as",
    "cannot unmarshal",
)
"""Texts of the API server (1.29 to 1.34) about a field that it does not know or cannot parse. The
first comes with status 500."""

_ADMISSION: Final = ("denied request", "denied the request")
"""Texts of the API server about a refusal by an admission policy or an admission webhook, which
choose the status."""


def translate(error: ApiException, target: str) -> errors.ClusterError:
    """Turn a status code into one of this program's exceptions, with the API server's message."""
    try:
        answer = json.loads(error.body or "")
        message = str(answer.get("message") or error.reason)
    except (ValueError, AttributeError, RecursionError):
        answer = {}
        # Only a path that is not served is answered without a Status object.
        message = str(error.reason)
        if error.status == 404:  # noqa: PLR2004 - the HTTP status
            return errors.KindMissingError(f"{target}: the cluster does not serve this kind")
    other = errors.BusyError if error.status else errors.UnavailableError
    kind = _STATUS_ERRORS.get(error.status or 0, other)
    if any(words in message for words in _ADMISSION):
        kind = errors.ForbiddenError
    elif _names_field(answer, message) and kind not in (errors.NotFoundError, errors.ConflictError):
        kind = errors.RejectedError
    return kind(f"{target}: {message}")


def _names_field(answer: Mapping[str, Any], message: str) -> bool:
    """Whether a refusal is about a field of the object, not about its sender or the time."""
    causes = mapping(answer.get("details")).get("causes")
    named = isinstance(causes, list) and any(mapping(cause).get("field") for cause in causes)
    return named or any(words in message for words in _FIELD_AT_FAULT)


async def read_events(
    response: aiohttp.ClientResponse, target: str
) -> AsyncIterator[dict[str, Any]]:
    """Read the events of a watch, one in each line."""
    try:
        async for line in response.content:
            event: dict[str, Any] = json.loads(line)
            if event["type"] == "ERROR":
                raise _read_error(mapping(event["object"]), target)
            well_formed(event["object"])
            yield event
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        words = str(error) or type(error).__name__
        raise errors.UnavailableError(f"{target}: {words}") from error


def _read_error(status: Mapping[str, Any], target: str) -> errors.ClusterError:
    """Read the Status with which the API server ends a watch."""
    expired = status.get("code") == HTTPStatus.GONE
    kind = errors.ExpiredError if expired else errors.UnavailableError
    return kind(f"{target}: {status.get('message')}")


def well_formed(body: dict[str, Any]) -> dict[str, Any]:
    """Drop the fields of an object that do not have the shape of every Kubernetes object.

    Only a custom resource whose definition has no schema for them can contain such fields.
    """
    metadata = body["metadata"]
    for field in ("labels", "annotations"):
        if field in metadata:
            texts = mapping(metadata[field]).items()
            metadata[field] = {key: text for key, text in texts if isinstance(text, str)}
    for field, element in (("ownerReferences", dict), ("managedFields", dict), ("finalizers", str)):
        if field in metadata:
            found = metadata[field] if isinstance(metadata[field], list) else []
            metadata[field] = [each for each in found if isinstance(each, element)]
    for field in ("spec", "status"):
        if field in body and not isinstance(body[field], dict):
            body[field] = {}
    return body


async def concerning(condition: Type, read: Awaitable[Found]) -> Found:
    """Read facts for one condition; a failed read names the condition in its error."""
    try:
        return await read
    except errors.ClusterError as error:
        error.condition = condition
        raise
