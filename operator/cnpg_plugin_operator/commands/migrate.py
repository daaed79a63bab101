"""`migrate`: describe a plugin that runs without this operator as a `CNPGPlugin`.

It reads what is behind the plugin's Service and prints a manifest; nothing is written, and nothing
of a Secret but its name is read.
"""

import argparse
import asyncio
import os
import sys
from typing import Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.client import RECURSION_LIMIT, Client, list_served
from cnpg_plugin_operator.cluster.take_over import runs_behind
from cnpg_plugin_operator.desired.manifest import write_manifest
from cnpg_plugin_operator.desired.migration import Found, Migration, build_migration
from cnpg_plugin_operator.settings import Settings, read_settings

READ: Final = (
    kinds.PLUGIN,
    kinds.DEPLOYMENT,
    kinds.SERVICE,
    kinds.CERTIFICATE,
    kinds.ISSUER,
)
"""What is listed: the installation, and whose names a resource cannot have."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Print the CNPGPlugin that describes a plugin which was installed without this operator, "
        "and takes it over. Comments say what a person has to decide. It reads with the rights of "
        "the kubeconfig in KUBECONFIG or of the pod's account; nothing is written."
    )
    parser.add_argument(
        "--from-service",
        required=True,
        metavar="NAME",
        help="the Service by which CloudNativePG uses the plugin",
    )
    parser.add_argument("-n", "--namespace", help="of the Service; else the first managed one")
    parser.add_argument("--name", default="", help="of the resource; else one that is free")


def main(arguments: argparse.Namespace) -> int:
    """Print the manifest. Raises `OperatorError` where there is nothing to describe."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    found = asyncio.run(describe(read_settings(os.environ), arguments))
    print(write_manifest(found.resource, found.remarks), end="")  # noqa: T201 - it was asked for
    return 0


async def describe(settings: Settings, arguments: argparse.Namespace) -> Migration:
    """Read an installation and describe it.

    Raises `SettingsError` where the Service announces no plugin or nothing runs behind it,
    `ClusterError` where it cannot be read.
    """
    client = await Client.connect(settings.kubeconfig, settings.context, reads_only=True)
    try:
        return await read_migration(
            client, arguments.namespace or settings.namespaces[0], arguments
        )
    finally:
        await client.close()


async def read_migration(
    client: Client, namespace: str, arguments: argparse.Namespace
) -> Migration:
    """Describe what is behind a Service of a namespace. Raises as `describe` does."""
    wanted = arguments.from_service
    listed = {kind.kind: await list_served(client, kind, namespace) for kind in READ}
    named = (body for body in listed["Service"] if body["metadata"]["name"] == wanted)
    service = next(named, None)
    if service is None:
        raise errors.SettingsError(f"no Service {namespace}/{wanted}")
    if not mapping(service["metadata"].get("labels")).get(names.cnpg.PLUGIN_NAME):
        raise errors.SettingsError(
            f"Service {namespace}/{wanted} lacks the label {names.cnpg.PLUGIN_NAME}: CloudNativePG "
            "uses no plugin by it"
        )
    deployments = [body for body in listed["Deployment"] if runs_behind(service, body)]
    if not deployments:
        raise errors.SettingsError(f"no Deployment runs behind Service {namespace}/{wanted}")
    taken = frozenset(
        body["metadata"]["name"]
        for kind, bodies in listed.items()
        for body in bodies
        if not (kind == "Service" and body["metadata"]["name"] == wanted)
    )
    found = Found(service, deployments[0], listed["Certificate"], taken)
    migration = build_migration(found, arguments.name)
    migration.remarks += [
        f"Deployment {each['metadata']['name']} runs behind the Service, too; this resource "
        f"describes {deployments[0]['metadata']['name']} only."
        for each in deployments[1:]
    ]
    return migration
