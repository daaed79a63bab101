"""The verdicts of the gate in CloudNativePG's pod, and how it passes them on.

The gate is an init container that performs the handshakes in CloudNativePG's own pod. Its only
output is its termination message, which the kubelet truncates; so the format of the verdicts,
written and read here, drops the least important parts first.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import IDENTITY_KEYS, HandshakeOutcome, Identity

MESSAGE_LIMIT: Final = 4096
"""Bytes of a termination message that the kubelet keeps."""

_POD_LIMIT: Final = 12 * 1024
"""Bytes that the kubelet keeps of all termination messages of a pod: each container of any kind
gets an equal share (`normalizeStatus` in its `status_manager.go`)."""

_OTHERS: Final = 2
"""Containers of the pod beside the plugins: CloudNativePG's manager and the gate."""

_PERMANENT: Final = frozenset(
    {Reason.IDENTITY_MISMATCH, Reason.NOT_A_PLUGIN, Reason.CAPABILITY_FAILED}
)
"""Faults that a listening plugin does not recover from: a gRPC server has its services before its
port (Go's ends the process that adds one later), and CNPG-I's answers are constants of the program.
"""


def share(plugins: int) -> int:
    """Compute how many bytes the gate's message may have in a pod with so many plugins."""
    return min(MESSAGE_LIMIT, _POD_LIMIT // (plugins + _OTHERS))


def is_final(outcome: HandshakeOutcome, before: HandshakeOutcome | None) -> bool:
    """Whether another attempt could not change the verdict on a plugin.

    A permanent fault counts when it was seen twice in a row, because a plugin that exits during a
    handshake looks like one that lacks a service. Waiting longer would only delay CloudNativePG.
    """
    if outcome.succeeded:
        return True
    return outcome.reason in _PERMANENT and before is not None and before.reason is outcome.reason


def is_shown(outcome: HandshakeOutcome) -> bool:
    """Whether CloudNativePG may see the socket of a declared plugin, if there is one.

    CloudNativePG connects when a Cluster needs the plugin, so a late plugin is linked; but one that
    answers under another plugin's name never is.
    """
    return outcome.reason is not Reason.IDENTITY_MISMATCH


def judge_unlinked(socket: str, problem: str) -> HandshakeOutcome:
    """Report that CloudNativePG does not see a plugin, although it may work."""
    return HandshakeOutcome(
        Reason.UNREACHABLE,
        f"socket {socket} cannot be linked for CloudNativePG: {problem}. Delete CloudNativePG's "
        "pod: a new one starts with an empty directory.",
    )


def judge_missing(path: str, waited: str, others: Collection[str] | None) -> HandshakeOutcome:
    """Report that a socket was not opened in time, and which unexpected files are beside it.

    None means an unreadable directory.
    """
    message = f"The plugin did not open the socket {path} within {waited}. "
    if others is None:
        message += "Its directory does not exist or is unreadable, too: is the volume mounted?"
    elif others:
        message += (
            f"Its directory has {', '.join(sorted(others))} instead: a plugin names its socket "
            "after itself, so compare the names."
        )
    else:
        message += "Its log may say why; is it started with this directory (--plugin-path)?"
    return HandshakeOutcome(Reason.SOCKET_MISSING, message)


def judge_unexpected(
    path: str, unexpected: str, waited: str, identity: Identity
) -> HandshakeOutcome:
    """Report that the plugin opened a socket under another name, the only unexpected one."""
    expected = path.rpartition("/")[2]
    message = (
        f"The plugin did not open the socket {path} within {waited}, but {unexpected}, where it "
    )
    if identity.name == expected:
        message += (
            "answers under its own name. CloudNativePG takes the name of the socket for that of "
            "the plugin: correct its arguments."
        )
    else:
        message += (
            f"calls itself {identity.name!r}, not {expected!r}: correct spec.image, or delete this "
            "resource and create it with that name (spec.pluginName never changes)."
        )
    return HandshakeOutcome(Reason.IDENTITY_MISMATCH, message, identity)


# The termination message


def encode_verdicts(outcomes: Mapping[str, HandshakeOutcome], limit: int = MESSAGE_LIMIT) -> str:
    """Write the verdicts as one JSON document of at most so many bytes of UTF-8.

    Each plugin has its own line: if the kubelet still truncates the text, because the pod has more
    containers than assumed, the lines before remain readable.
    """
    kept = dict(outcomes)
    text = _write(kept)
    for parts in _KEPT:
        if _size(text) <= limit:
            return text
        kept = {name: _reduce(outcome, *parts) for name, outcome in outcomes.items()}
        text = _write(kept)
    # Not even the reasons fit. The plugins that work are left out: an unknown verdict harms them
    # least.
    for name in sorted(kept, key=lambda name: (kept[name].succeeded, name), reverse=True):
        if _size(text) <= limit:
            break
        del kept[name]
        text = _write(kept)
    return text


def decode_verdicts(text: str) -> dict[str, HandshakeOutcome]:
    """Read the verdicts of a termination message; its content may be anything."""
    entries = (_read_line(line) for line in text.split("\n"))
    return dict(entry for entry in entries if entry is not None)


def _write(outcomes: Mapping[str, HandshakeOutcome]) -> str:
    lines = (
        json.dumps(_entry(name, outcomes[name]), ensure_ascii=False, separators=(",", ":"))
        for name in sorted(outcomes)
    )
    return _well_formed('{"plugins":[\n' + ",\n".join(lines) + "\n]}\n")


def _entry(name: str, outcome: HandshakeOutcome) -> dict[str, Any]:
    """Write one verdict, the most important fields first, because users may read it, too."""
    entry: dict[str, Any] = {"plugin": name, "reason": outcome.reason.value}
    said = outcome.identity
    if said is not None:
        entry["identity"] = said.section() | {"name": said.name}
        if said.name == name:
            del entry["identity"]["name"]
    if outcome.message:
        entry["message"] = outcome.message
    if outcome.served:
        entry["served"] = outcome.served
    return entry


def _read_line(line: str) -> tuple[str, HandshakeOutcome] | None:
    """Read the verdict in a line, or nothing where it contains none."""
    try:
        entry = json.loads(line.strip().removesuffix(","))
        reason = Reason(entry["reason"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    name = _text(entry, "plugin")
    if not name:
        return None
    identity = _read_identity(name, entry.get("identity"))
    message, served = _text(entry, "message"), _text(entry, "served")
    return name, HandshakeOutcome(reason, message, identity, served)


def _read_identity(expected: str, said: object) -> Identity | None:
    if not isinstance(said, dict):
        return None
    texts = {field: _text(said, key) for key, field in IDENTITY_KEYS.items() if key in said}
    capabilities = said.get("capabilities")
    known = capabilities if isinstance(capabilities, list) else []
    return Identity(
        **{"name": expected, "version": "", **texts},
        capabilities=tuple(_well_formed(word) for word in known if isinstance(word, str)),
    )


def _text(entry: Mapping[str, Any], key: str) -> str:
    """Return a text; empty where the value is something else."""
    value = entry.get(key)
    return _well_formed(value) if isinstance(value, str) else ""


def _well_formed(text: str) -> str:
    """Replace what UTF-8 cannot express: half a surrogate pair, as file names can have."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _size(text: str) -> int:
    return len(text.encode("utf-8"))


_ALL: Final = MESSAGE_LIMIT

_KEPT: Final = (
    (_ALL, _ALL, _ALL, _ALL),
    (0, _ALL, _ALL, _ALL),
    (0, 240, _ALL, _ALL),
    (0, 240, 0, _ALL),
    (0, 80, 0, _ALL),
    (0, 80, 0, 63),
    (0, 0, 0, 63),
    (0, 0, 0, 0),
)
"""What is kept of each verdict, in shrinking versions: characters of the message of a success (its
identity has the same information) and of a failure (240 state the fault and its place, 80 its
subject); capabilities; characters of name and version (the protocol allows 63 for a name)."""


def _reduce(
    outcome: HandshakeOutcome, success: int, failure: int, capabilities: int, words: int
) -> HandshakeOutcome:
    """Shorten a verdict, and keep only those parts of the identity that distinguish plugins."""
    said, kept = outcome.identity, None
    if said is not None and words:
        name, version = _shorten(said.name, words), _shorten(said.version, words)
        kept = Identity(name, version, capabilities=said.capabilities[:capabilities])
    length = success if outcome.succeeded else failure
    return HandshakeOutcome(outcome.reason, _shorten(outcome.message, length), kept)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…" if length else ""
