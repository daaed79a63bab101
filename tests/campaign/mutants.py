"""Mutants: the operator with one defect each, most of which it once had, and who must find them.

A mutant is a piece of the operator's code and what replaces it. It is found if one of its plans is
violated. A unit test sees that each piece is still there, exactly once.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.e2e.installation import ROOT

PACKAGE: Final = Path("cnpg_plugin_operator")


@dataclass(frozen=True)
class Mutant:
    """One defect."""

    name: str
    file: str
    before: str
    after: str
    plans: tuple[str, ...]
    """Patterns of the plans of which one has to be violated."""

    def read(self) -> str:
        """The code that it changes."""
        return (ROOT / "operator" / PACKAGE / self.file).read_text()

    def build(self, directory: Path) -> Path:
        """Write the operator with this defect into a directory; give it."""
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(ROOT / "operator", directory)
        changed = self.read().replace(self.before, self.after)
        (directory / PACKAGE / self.file).write_text(changed)
        return directory


MUTANTS: Final = (
    # What the first campaign found.
    Mutant(
        "foreign keys of CloudNativePG's stay",
        "desired/surplus.py",
        'FAMILIES: Final = (f"{names.cnpg.DOMAIN}/", f"{names.resource.GROUP}/")',
        'FAMILIES: Final = ("none.invalid/",)',
        ("steady/services.p/added.server-name",),
    ),
    Mutant(
        "another key in the selector stays",
        "desired/drift.py",
        '_WHOLE_MAPS: Final = frozenset({"matchLabels", "nodeSelector", "selector"})',
        "_WHOLE_MAPS: Final = frozenset()",
        ("steady/services.p/added.selector",),
    ),
    Mutant(
        "a Service keeps addresses from others",
        "desired/surplus.py",
        '            "externalIPs",\n',
        "",
        ("steady/services.p/added.addresses",),
    ),
    Mutant(
        "a Service turned NodePort stays so",
        "desired/service.py",
        '    "type": "ClusterIP",\n',
        "",
        ("steady/services.p/added.type",),
    ),
    Mutant(
        "a paused Deployment stays so",
        "desired/surplus.py",
        '"Deployment": frozenset({"minReadySeconds", "paused"}),',
        '"Deployment": frozenset({"minReadySeconds"}),',
        ("steady/deployments.p/added.paused",),
    ),
    Mutant(
        "an object without its label wakes none",
        "watch/wakeups.py",
        "    for shown in (change.before, change.after):",
        "    for shown in (change.after,):",
        ("steady/certificates.p-*/deleted", "steady/certificates.p-*managed-by.removed"),
    ),
    Mutant(
        "a write that always fails is not reported",
        "reconcile/failures.py",
        "REPORT_AFTER: Final = 3",
        "REPORT_AFTER: Final = 3000",
        ("create/write-deployments/500-always",),
    ),
    Mutant(
        "the operator ends where the API server is away at its start",
        "watch/supervision.py",
        "            failures = 0 if clock() - began > LASTING else failures + 1",
        "            failures = 0 if clock() - began > LASTING else failures + 1\n"
        "            raise RuntimeError(failures) from error",
        ("restart/api/away-60s", "create/api/away-60s"),
    ),
    Mutant(
        "the operator ends where its kind is not served",
        "watch/supervision.py",
        "        except errors.ClusterError as error:",
        "        except errors.UnavailableError as error:",
        ("restart/get-.apis.cnpgplugin.dev.v1beta1-*/404",),
    ),
    Mutant(
        "a roll of the future holds every other back",
        "decide/registration/restart.py",
        "    last = max((at for at in times if at <= now), default=None)",
        "    last = max(times, default=None)",
        ("sidecar/cnpg/rolled-in-the-future", "mode/cnpg/rolled-in-the-future"),
    ),
    Mutant(
        "an object without its owner is foreign",
        "cluster/ownership.py",
        "    if has_uid(plugin, body):",
        "    if not is_owned(plugin, body):\n        return False\n    if has_uid(plugin, body):",
        ("steady/services.p/ownerReferences.removed",),
    ),
    Mutant(
        "the token is not read again",
        "cluster/connection.py",
        "        if not self._in_cluster:\n            return False",
        "        if self._in_cluster:\n            return False",
        ("create/token/rotated", "image/token/rotated"),
    ),
    # What later ones found.
    Mutant(
        "an authority that has lost a label is foreign",
        "reconcile/certificates/authorities.py",
        "    return managed or names.labels.CHAIN in secret.labels",
        "    return managed and names.labels.CHAIN in secret.labels",
        (
            "steady-own/secrets.cnpg-plugins-selfmanaged*/labels*removed",
            "steady-own/secrets.cnpg-plugins-selfmanaged*/labels*managed-by.changed",
        ),
    ),
    Mutant(
        "two ports of a container get one name",
        "desired/surplus.py",
        "    return live if ports == found else",
        "    return live if ports != found else",
        ("steady/deployments.p/spec.template.spec.containers.0.ports.0.containerPort",),
    ),
    # Others.
    Mutant(
        "the label comes before the handshake",
        "desired/service.py",
        "    if announcement is not None:\n        labels",
        "    if announcement is None or announcement:\n        labels",
        ("create-broken/*", "create/patch-services-p-1/500-after"),
    ),
    Mutant(
        "messages are not made printable",
        "api/untrusted.py",
        "    shown = str(text)[: limit + 1]\n    if not (",
        "    return str(text)\n    shown = str(text)[: limit + 1]\n    if not (",
        ("create/write-services/403-always", "create/write-deployments/500-always"),
    ),
    Mutant(
        "a Service publishes pods that are not ready",
        "desired/service.py",
        '"publishNotReadyAddresses": announcement is None and plugin.spec.replicas == 1',
        '"publishNotReadyAddresses": True',
        ("create/patch-services-p-2/409-after",),
    ),
    Mutant(
        "what others changed is not looked at",
        "desired/drift.py",
        "    return first_difference(desired, live)\n\n\ndef first",
        "    return None\n\n\ndef first",
        ("steady/services.p/spec.ports.0.port", "steady/services.p/spec.selector.*"),
    ),
    Mutant(
        "what differs is not applied again",
        "cluster/apply.py",
        "        if live is not None and surplus is None and drift is None:",
        "        if live is not None and surplus is None:",
        ("steady/services.p/added.selector", "image/*"),
    ),
    Mutant(
        "Certificates are left to their plugin's end",
        "reconcile/deletion.py",
        "    await progress.make(*delete(await remover.find_certificates(leaving)))\n",
        "",
        ("delete/*",),
    ),
    Mutant(
        "what has no owner is left behind",
        "reconcile/deletion.py",
        "    await progress.make(*delete(await remover.find_unowned(leaving)))\n",
        "",
        ("delete/*/ownerReferences.removed",),
    ),
    Mutant(
        "the finalizer goes first",
        "reconcile/plugin.py",
        "        if not has_finalizer:\n            await self._make(AddFinalizer(resource))\n",
        "",
        ("delete/*",),
    ),
    Mutant(
        "objects of an interrupted watch are trusted",
        "watch/feeds.py",
        "        if path in self._by_path:\n            self._by_path[path].set()",
        "        if path in self._by_path and not self._by_path:\n"
        "            self._by_path[path].set()",
        ("steady/watch-*/lost-deletion",),
    ),
    Mutant(
        "an object that changed wakes nothing",
        "watch/wakeups.py",
        "        elif owners := owners_of(metadata):",
        "        elif (owners := owners_of(metadata)) and not owners:",
        ("steady/services.p/deleted", "steady/deployments.p/deleted"),
    ),
    Mutant(
        "a pass that failed is repeated too late",
        "watch/loops.py",
        "BACKOFF_MOST: Final = 60.0",
        "BACKOFF_MOST: Final = 3600.0\nBACKOFF_FIRST = 600.0",
        ("create/write-deployments/500-always",),
    ),
)
"""Each as it would be written by mistake."""
