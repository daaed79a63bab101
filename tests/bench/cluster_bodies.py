"""Clusters as CloudNativePG 1.30.0 leaves them: three instances, a backup plugin, a full status.

Pure. CloudNativePG is told not to reconcile them, so nothing else writes what is built here. Fields
and texts are those of its api/v1/cluster_types.go.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

Object = dict[str, Any]

NAMESPACE: Final = "bench-fleet"
HEALTHY: Final = "Cluster in healthy state"
UNHEALTHY: Final = "Waiting for the instances to become active"
"""Another phase, which no plugin causes: the operator only counts the Cluster as not ready."""
NOT_RECONCILED: Final = {"cnpg.io/reconciliationLoop": "disabled"}
_CREATED: Final = "2026-01-05T08:00:00Z"
_SERVICES: Final = ("rw", "ro", "r")
_POSTGRES: Final = "ghcr.io/cloudnative-pg/postgresql:17.5-standard-bookworm"


def name_of(index: int) -> str:
    """Name the Cluster with this number."""
    return f"fleet-{index:05}"


def build_cluster(index: int, plugin_name: str) -> Object:
    """Build a Cluster as its owner writes it; CloudNativePG's webhook adds the defaults."""
    name = name_of(index)
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": dict(NOT_RECONCILED),
            "labels": {"app.kubernetes.io/part-of": "bench", "team": f"team-{index % 40:02}"},
        },
        "spec": {
            "instances": 3,
            "imageName": _POSTGRES,
            "storage": {"size": "20Gi", "storageClass": "fast"},
            "walStorage": {"size": "5Gi", "storageClass": "fast"},
            "bootstrap": {"initdb": {"database": "app", "owner": "app"}},
            "postgresql": {
                "parameters": {
                    "max_connections": "200",
                    "shared_buffers": "512MB",
                    "work_mem": "8MB",
                    "log_min_duration_statement": "1000",
                }
            },
            "resources": {
                "requests": {"cpu": "500m", "memory": "2Gi"},
                "limits": {"memory": "2Gi"},
            },
            "plugins": [
                {
                    "name": plugin_name,
                    "isWALArchiver": True,
                    "parameters": {"barmanObjectName": f"{name}-store", "serverName": name},
                }
            ],
        },
    }


def build_status(index: int, reported: Mapping[str, Any]) -> Object:
    """Build a healthy status; `reported` is what CloudNativePG shows of the plugin."""
    name = name_of(index)
    instances = [f"{name}-{number}" for number in (1, 2, 3)]
    claims = [claim for each in instances for claim in (each, f"{each}-wal")]
    return {
        **_instances(name, instances, index),
        **_secrets(name, index),
        "healthyPVC": claims,
        "pvcCount": len(claims),
        "latestGeneratedNode": 3,
        "phase": HEALTHY,
        "image": _POSTGRES,
        "pgDataImageInfo": {"image": _POSTGRES, "majorVersion": 17},
        "cloudNativePGCommitHash": "ad4b2f2b1",
        "cloudNativePGOperatorHash": _hash("operator"),
        "availableArchitectures": [
            {"goArch": arch, "hash": _hash(arch)} for arch in ("amd64", "arm64")
        ],
        "conditions": build_conditions(_CREATED),
        "lastSuccessfulBackup": "2026-11-25T01:00:04Z",
        "lastSuccessfulBackupByMethod": {"plugin": "2026-11-25T01:00:04Z"},
        "firstRecoverabilityPoint": "2026-10-26T01:00:04Z",
        "firstRecoverabilityPointByMethod": {"plugin": "2026-10-26T01:00:04Z"},
        "pluginStatus": [dict(reported)],
        "systemID": str(7_400_000_000_000_000_000 + index),
    }


def _instances(name: str, instances: list[str], index: int) -> Object:
    primary, *_ = instances
    return {
        "instances": len(instances),
        "readyInstances": len(instances),
        "instanceNames": instances,
        "instancesStatus": {"healthy": instances},
        "instancesReportedState": {
            each: {"isPrimary": each == primary, "timeLineID": 1, "ip": _address(index, place)}
            for place, each in enumerate(instances)
        },
        "topology": {
            "instances": {
                each: {"topology.kubernetes.io/zone": f"zone-{place}"}
                for place, each in enumerate(instances)
            },
            "nodesUsed": len(instances),
            "successfullyExtracted": True,
        },
        "timelineID": 1,
        "currentPrimary": primary,
        "targetPrimary": primary,
        "currentPrimaryTimestamp": _CREATED,
        "targetPrimaryTimestamp": _CREATED,
        "readService": f"{name}-r",
        "writeService": f"{name}-rw",
        "selector": f"cnpg.io/cluster={name},cnpg.io/podRole=instance",
        "managedRolesStatus": {"byStatus": {"reconciled": ["app"], "reserved": ["postgres"]}},
        "switchReplicaClusterStatus": {},
    }


def _secrets(name: str, index: int) -> Object:
    version = str(100_000 + index)
    names = [f"{name}-{service}{suffix}" for service in _SERVICES for suffix in _suffixes()]
    authorities = {"clientCASecret": f"{name}-ca", "serverCASecret": f"{name}-ca"}
    own = {"replicationTLSSecret": f"{name}-replication", "serverTLSSecret": f"{name}-server"}
    return {
        "certificates": {
            **authorities,
            **own,
            "expirations": dict.fromkeys(
                sorted({*authorities.values(), *own.values()}), "2027-02-24 09:30:00 +0000 UTC"
            ),
            "serverAltDNSNames": names,
        },
        "secretsResourceVersion": {
            "applicationSecretVersion": version,
            "clientCaSecretVersion": version,
            "replicationSecretVersion": version,
            "serverCaSecretVersion": version,
            "serverSecretVersion": version,
        },
        "configMapResourceVersion": {"metrics": {"cnpg-default-monitoring": version}},
        "poolerIntegrations": {"pgBouncerIntegration": {}},
    }


def _suffixes() -> tuple[str, ...]:
    return ("", f".{NAMESPACE}", f".{NAMESPACE}.svc", f".{NAMESPACE}.svc.cluster.local")


def build_conditions(changed: str) -> list[Object]:
    """Build the conditions, the last of which changed then."""
    said = [
        ("ConsistentSystemID", "Unique", "A single, unique system ID was found", _CREATED),
        ("Ready", "ClusterIsReady", "Cluster is Ready", _CREATED),
        ("LastBackupSucceeded", "LastBackupSucceeded", "Backup was successful", _CREATED),
        (
            "ContinuousArchiving",
            "ContinuousArchivingSuccess",
            "Continuous archiving is working",
            changed,
        ),
    ]
    return [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": at,
        }
        for kind, reason, message, at in said
    ]


def build_irrelevant(index: int, tick: int) -> Object:
    """Build a change of a status that matters to no plugin, another kind at each tick."""
    moment = f"2026-11-26T{tick // 3600 % 24:02}:{tick // 60 % 60:02}:{tick % 60:02}Z"
    first = f"{name_of(index)}-1"
    changes: tuple[Object, ...] = (
        {"timelineID": tick + 2},
        {"instancesReportedState": {first: {"timeLineID": tick + 2, "ip": _address(tick, 0)}}},
        {"conditions": build_conditions(moment)},
        {"lastSuccessfulBackup": moment, "lastSuccessfulBackupByMethod": {"plugin": moment}},
        {"secretsResourceVersion": {"serverSecretVersion": str(tick)}},
        {"managedRolesStatus": {"passwordStatus": {"app": {"transactionID": tick + 1}}}},
    )
    return changes[tick % len(changes)]


def build_relevant(*, healthy: bool) -> Object:
    """Build a change of a status that the status of the plugin shows."""
    return {"phase": HEALTHY if healthy else UNHEALTHY}


def _address(index: int, place: int) -> str:
    return f"10.{index // 250 % 250}.{index % 250}.{place + 10}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
