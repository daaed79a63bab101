"""Reads and annotates objects, and runs commands in pods, through the program `kubectl`.

A refusal names the verb and the resource that the user lacks. Only annotations are ever written,
and the conditions by which cert-manager is asked for a certificate.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.untrusted import printable
from cnpg_plugin_operator.cluster.kinds import Kind

DEFAULT_NAMESPACE: Final = "default"
"""kubectl's own default where the context names none."""

_FORBIDDEN: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"'
    r'(?: in API group "(?P<group>[^"]*)")?(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_ENDED: Final = re.compile(r"^command terminated with exit code \d+$", re.MULTILINE)
"""kubectl's line about a command in a pod that failed; without it, kubectl itself has failed."""

_UNREACHABLE: Final = ("Unable to connect to the server", "connection refused", "i/o timeout")


@dataclass(frozen=True, slots=True)
class Done:
    """What a command in a pod, or kubectl, has printed."""

    status: int
    out: str
    err: str = ""


class Kubectl:
    """Runs kubectl with the user's flags for the connection."""

    def __init__(
        self, program: Sequence[str], *, kubeconfig: str | None = None, context: str | None = None
    ) -> None:
        self.kubeconfig, self.context = kubeconfig, context
        flags = {"--kubeconfig": kubeconfig, "--context": context}
        self._argv = (*program, *(f"{flag}={value}" for flag, value in flags.items() if value))

    def namespace(self) -> str:
        """Read the namespace of the context."""
        path = "jsonpath={.contexts[0].context.namespace}"
        done = self._run(["config", "view", "--minify", "--output", path])
        # Without any kubeconfig, kubectl uses its default, too.
        return (done.out.strip() if done.status == 0 else "") or DEFAULT_NAMESPACE

    def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[dict[str, Any]]:
        """List objects of one or all namespaces.

        Raises `ForbiddenError` with the missing right, `KindMissingError`, `UnavailableError`.
        """
        query = {"labelSelector": labels, "fieldSelector": fields}
        given = urlencode({key: value for key, value in query.items() if value})
        listing = self._read(kind.path(namespace) + (f"?{given}" if given else ""))
        return [dict(body) for body in listing.get("items") or ()]

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Read one object. Raises `NotFoundError`, and what `list` does."""
        return self._read(kind.path(namespace, name))

    def versions(self) -> dict[str, Any]:
        """Read the versions of kubectl and of the API server."""
        return _parse(self._checked(["version", "--output=json"]))

    def annotate(self, kind: Kind, name: str, namespace: str, key: str, value: str) -> None:
        """Set one annotation of an object. Raises as `get` does."""
        where = ["annotate", _resource(kind), name, f"--namespace={namespace}", "--overwrite"]
        self._checked([*where, f"{key}={value}"])

    def patch_status(
        self, kind: Kind, name: str, namespace: str, change: Mapping[str, Any]
    ) -> None:
        """Merge a change into an object's status. Raises as `get` does."""
        where = ["patch", _resource(kind), name, f"--namespace={namespace}", "--subresource=status"]
        self._checked([*where, "--type=merge", f"--patch={json.dumps(change)}"])

    def execute(self, namespace: str, target: str, container: str, command: Iterable[str]) -> Done:
        """Run a command in a pod; return what it says, whatever its status.

        Raises `ForbiddenError` or `UnavailableError` where it did not run.
        """
        where = ["exec", f"--namespace={namespace}", target, f"--container={container}", "--"]
        done = self._run([*where, *command])
        if done.status and not _ENDED.search(done.err):
            raise translate(done.err)
        kept = [line for line in done.err.splitlines() if not _ENDED.fullmatch(line)]
        return Done(done.status, done.out, "\n".join(kept))

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int) -> str:
        """Read the end of a container's log. Raises as `get` does."""
        where = ["logs", f"--namespace={namespace}", pod, f"--container={container}"]
        return self._checked([*where, f"--tail={lines}", *(["--previous"] if previous else [])])

    def _read(self, path: str) -> dict[str, Any]:
        return _parse(self._checked(["get", f"--raw={path}"]))

    def _checked(self, arguments: Sequence[str]) -> str:
        done = self._run(arguments)
        if done.status:
            raise translate(done.err)
        return done.out

    def _run(self, arguments: Sequence[str]) -> Done:
        argv = [*self._argv, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - no shell; each argument stays one
                argv, capture_output=True, text=True, errors="replace", check=False
            )
        except OSError as error:
            raise errors.UnavailableError(f"cannot run {argv[0]}: {error.strerror}") from error
        return Done(done.returncode, done.stdout, done.stderr)


def _resource(kind: Kind) -> str:
    return f"{kind.plural}.{kind.api_version.partition('/')[0]}"


def translate(said: str) -> errors.ClusterError:
    """Turn kubectl's words into this program's exceptions; a refusal names the missing right."""
    words = printable(said.strip())
    if found := _FORBIDDEN.search(said):
        return errors.ForbiddenError(_missing_right(found.groupdict()))
    if "(NotFound)" in said:
        missing = "could not find the requested resource" in said
        return (errors.KindMissingError if missing else errors.NotFoundError)(words)
    if "(Forbidden)" in said:
        return errors.ForbiddenError(words)
    if any(text in said for text in _UNREACHABLE):
        return errors.UnavailableError(f"the API server cannot be reached: {words}")
    return errors.UnavailableError(words or "kubectl failed and said nothing")


def _missing_right(found: Mapping[str, str | None]) -> str:
    resource = f"{found['resource']}.{found['group']}" if found["group"] else found["resource"]
    where = f"in namespace {found['namespace']}" if found["namespace"] else "in all namespaces"
    return f"{found['user']} lacks the right to {found['verb']} {resource} {where}"


def _parse(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise errors.UnavailableError(f"kubectl printed no JSON: {printable(text)}") from error
    if not isinstance(body, dict):
        raise errors.UnavailableError("kubectl printed no object")
    return body
