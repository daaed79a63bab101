"""The patches by which a plugin takes over from a previous installation, which has other managers.

They are JSON merge patches: each changes the few fields that it names, all in one write.
"""

import json
from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.decide.facts.take_over import Scaling
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.surplus import find_surplus


def build_adoption(desired: Object, live: Mapping[str, Any]) -> Object:
    """Build the JSON merge patch that makes another's Service the plugin's own, all at once.

    Pods and certificates must not change one without the other. The digest of the desired state is
    left to the next apply, which makes this operator the manager of the fields.
    """
    surplus = find_surplus(desired, live)
    patch: Object = {"metadata": {}, "spec": {}} if surplus is None else dict(surplus.patch)
    wanted, metadata, spec = desired["metadata"], patch["metadata"], patch.get("spec", {})
    annotations = {k: v for k, v in wanted["annotations"].items() if k != names.annotations.DESIRED}
    selector = (live.get("spec") or {}).get("selector") or {}
    return {
        "metadata": {
            **metadata,
            "resourceVersion": live["metadata"]["resourceVersion"],
            "labels": {**metadata.get("labels", {}), **wanted["labels"]},
            "annotations": {**metadata.get("annotations", {}), **annotations},
            "ownerReferences": wanted["ownerReferences"],
        },
        "spec": {
            **spec,
            **desired["spec"],
            "selector": {**dict.fromkeys(selector), **desired["spec"]["selector"]},
        },
    }


def build_retirement(plugin: Plugin) -> Object:
    """Build the patch that gives another Service the name of a plugin that no Cluster uses."""
    labels = {
        names.cnpg.PLUGIN_NAME: names.cnpg.retired(plugin.name),
        names.cnpg.PLUGIN_DOCUMENTED: None,
    }
    return {"metadata": {"labels": labels}}


def build_scaling(replicas: int, scaling: Scaling) -> Object:
    """Build the patch that scales a Deployment and records that: neither is without the other."""
    record = {
        "at": format_time(scaling.at),
        "for": scaling.cause,
        "replicas": scaling.replicas,
        "restored": scaling.restored,
    }
    annotations = {names.annotations.SCALED_DOWN: json.dumps(record, sort_keys=True)}
    return {"metadata": {"annotations": annotations}, "spec": {"replicas": replicas}}
