"""`report`: one archive for a support case, in which nothing is secret.

What cannot be read is listed in the archive instead of ending the command: the rights of the person
on call differ, and a part is better than nothing. Every text passes `redaction` on its way in.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.api.untrusted import mapping, printable
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import label_selector
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.kubectl import in_operator, status
from cnpg_plugin_operator.kubectl.access import Kubectl
from cnpg_plugin_operator.kubectl.redaction import redact_object, redact_secret, redact_text
from cnpg_plugin_operator.kubectl.resources import (
    OperatorDeployment,
    Scope,
    find_operator,
    find_plugins,
)
from cnpg_plugin_operator.settings import PREFIX

LOG_LINES: Final = 5_000
"""Lines of the log of each of the operator's pods."""

OWN_KINDS: Final = (*kinds.CHILDREN, kinds.POD, kinds.REPLICA_SET)
"""What is read of the plugins' objects, by the label that the operator sets."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Archive:
    """The files of a report, each redacted as it is added, and what could not be read."""

    files: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, name: str, content: object) -> None:
        """Add a file: a text, or anything that JSON can write."""
        is_text = isinstance(content, str)
        text = str(content) if is_text else json.dumps(content, indent=2, ensure_ascii=False)
        self.files[name] = redact_text(text)

    def attempt(self, name: str, read: Callable[[], object]) -> None:
        """Add what a read gives, or why it gave nothing."""
        try:
            self.add(name, read())
        except errors.OperatorError as error:
            self.missing.append(f"{name}: {printable(error)}")

    def write(self, folder: str, at: datetime) -> bytes:
        """Write everything as one `.tar.gz`."""
        buffer = io.BytesIO()
        files = {**self.files, "could-not-read.txt": "\n".join(self.missing) + "\n"}
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, text in sorted(files.items()):
                data = text.encode()
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mode, entry.mtime = len(data), 0o600, int(at.timestamp())
                archive.addfile(entry, io.BytesIO(data))
        return buffer.getvalue()


def collect(kubectl: Kubectl, scope: Scope, now: datetime, version: str, say: Say) -> Archive:
    """Collect a report. Raises `ClusterError` only where not even the resources can be read."""
    archive = Archive()
    say("resources")
    bodies = find_plugins(kubectl, scope)
    archive.add("cnpgplugins.json", [redact_object(body) for body in bodies])
    users = status.find_users(kubectl)
    archive.add("status.json", {"plugins": [status.report(b, users, now) for b in bodies]})
    operator = _find_operator(kubectl, scope, archive)
    archive.attempt(
        "versions.json",
        lambda: {
            "plugin": version,
            "collectedAt": format_time(now),
            "operatorImage": operator.image if operator else None,
            **kubectl.versions(),
        },
    )
    for namespace in sorted({body["metadata"]["namespace"] for body in bodies}):
        say(f"namespace {namespace}")
        _add_namespace(kubectl, namespace, archive)
    if operator is not None:
        say("the operator")
        _add_operator(kubectl, operator, scope, archive)
    return archive


def _find_operator(kubectl: Kubectl, scope: Scope, archive: Archive) -> OperatorDeployment | None:
    try:
        return find_operator(kubectl, scope)
    except errors.OperatorError as error:
        archive.missing.append(f"operator: {printable(error)}")
        return None


def _add_namespace(kubectl: Kubectl, namespace: str, archive: Archive) -> None:
    """Add what the plugins of a namespace consist of, and CloudNativePG's own Deployment."""
    mine = label_selector({names.labels.MANAGED_BY: names.resource.OPERATOR})
    cnpg = label_selector({names.labels.NAME: names.cnpg.APP})
    for kind in OWN_KINDS:
        labels = names.labels.PLUGIN if kind in (kinds.POD, kinds.REPLICA_SET) else mine
        read = partial(_objects, kubectl, kind, namespace, labels)
        archive.attempt(f"{namespace}/{kind.plural}.json", read)
    archive.attempt(
        f"{namespace}/cloudnative-pg.json",
        lambda: _objects(kubectl, kinds.DEPLOYMENT, namespace, cnpg),
    )
    archive.attempt(f"{namespace}/events.json", lambda: _objects(kubectl, kinds.EVENT, namespace))
    archive.attempt(
        f"{namespace}/secrets.json",
        lambda: [
            redact_secret(each) for each in kubectl.list(kinds.SECRET, namespace, labels=mine)
        ],
    )


def _objects(
    kubectl: Kubectl, kind: Kind, namespace: str, labels: str | None = None
) -> list[Mapping[str, Any]]:
    return [redact_object(body) for body in kubectl.list(kind, namespace, labels=labels)]


def _add_operator(
    kubectl: Kubectl, operator: OperatorDeployment, scope: Scope, archive: Archive
) -> None:
    """Add the operator's Deployment, pods, Events, logs, and what it would do now."""
    namespace = operator.namespace
    settings = {key: value for key, value in operator.settings.items() if key.startswith(PREFIX)}
    archive.add("operator/settings.json", asdict(replace(operator, settings=settings)))
    archive.attempt("operator/events.json", lambda: _objects(kubectl, kinds.EVENT, namespace))
    for pod in _pods(kubectl, operator, archive):
        _add_logs(kubectl, operator, pod, archive)
    words = [
        "diagnose",
        "--output=json",
        *([f"--namespace={scope.namespace}"] if scope.namespace else []),
    ]
    archive.attempt(
        "diagnose.json",
        lambda: in_operator.read_json(in_operator.run_in(kubectl, operator, words)),
    )


def _pods(
    kubectl: Kubectl, operator: OperatorDeployment, archive: Archive
) -> Iterable[Mapping[str, Any]]:
    """Add the operator's Deployment, and the pods that it selects."""
    try:
        deployment = kubectl.get(kinds.DEPLOYMENT, operator.name, operator.namespace)
    except errors.OperatorError as error:
        files = ("deployment", "pods")
        archive.missing += [f"operator/{file}.json: {printable(error)}" for file in files]
        return []
    archive.add("operator/deployment.json", redact_object(deployment))
    selector = mapping(mapping(mapping(deployment.get("spec")).get("selector")).get("matchLabels"))
    try:
        pods = kubectl.list(kinds.POD, operator.namespace, labels=label_selector(selector))
    except errors.OperatorError as error:
        archive.missing.append(f"operator/pods.json: {printable(error)}")
        return []
    archive.add("operator/pods.json", [redact_object(pod) for pod in pods])
    return pods


def _add_logs(
    kubectl: Kubectl, operator: OperatorDeployment, pod: Mapping[str, Any], archive: Archive
) -> None:
    name, states = pod["metadata"]["name"], mapping(pod.get("status")).get("containerStatuses")
    restarted = any(mapping(each).get("restartCount") for each in states or ())
    for previous in (False, *([True] if restarted else [])):
        file = f"operator/logs/{name}{'.previous' if previous else ''}.log"
        read = partial(kubectl.logs, operator.namespace, name, operator.container)
        archive.attempt(file, partial(read, previous=previous, lines=LOG_LINES))
