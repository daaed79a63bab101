"""`handshake`: performs the operator's handshake with a plugin from a shell.

Given the name of a Service, it reads what CloudNativePG would read (annotations and Secrets) and
dials what CloudNativePG would dial; given files, it needs no cluster.
"""

import argparse
import asyncio
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.durations import parse_duration
from cnpg_plugin_operator.api.screen import show
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.decide.facts.plugin import Endpoint, HandshakeOutcome, Material
from cnpg_plugin_operator.handshake.handshaker import Handshaker
from cnpg_plugin_operator.settings import Settings, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Perform the handshake with a plugin exactly as CloudNativePG would. "
        "Exit status 0: CloudNativePG could load it; 1: it could not."
    )
    parser.add_argument("service", nargs="?", help="name of the plugin's Service in the cluster")
    parser.add_argument("-n", "--namespace", default="cnpg-system", help="of the Service")
    parser.add_argument("--address", metavar="HOST:PORT", help="dial this instead of the Service")
    parser.add_argument("--server-name", help="name to verify the certificate for")
    parser.add_argument("--plugin-name", help="name the plugin must answer under")
    for option, meaning in (
        ("--server-cert", "PEM of the server Secret's tls.crt: all of it is trusted"),
        ("--client-cert", "PEM of the client Secret's tls.crt"),
        ("--client-key", "PEM of the client Secret's tls.key"),
    ):
        parser.add_argument(option, type=Path, metavar="FILE", help=meaning)
    parser.add_argument("--timeout", type=parse_duration, default="5s", help="deadline, as in 5s")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def main(arguments: argparse.Namespace) -> int:
    """Perform the handshake; return the exit status. Raises `OperatorError`."""
    return asyncio.run(handshake(read_settings(os.environ), arguments))


async def handshake(settings: Settings, arguments: argparse.Namespace) -> int:
    """Perform the handshake and print the verdict; return the exit status.

    Raises `SettingsError` for insufficient arguments, `ClusterError` if an object that the Service
    names does not exist.
    """
    if arguments.service:
        endpoint, material = await _from_cluster(settings, arguments)
    else:
        endpoint, material = await asyncio.to_thread(_from_files, arguments)
    started = time.monotonic()
    outcome = await Handshaker().shake(endpoint, material, arguments.timeout.total_seconds())
    duration = time.monotonic() - started
    render = _render_json if arguments.output == "json" else _render_text
    print(render(endpoint, outcome, duration))  # noqa: T201 - the verdict is what was asked for
    return 0 if outcome.succeeded else 1


async def _from_cluster(
    settings: Settings, arguments: argparse.Namespace
) -> tuple[Endpoint, Material]:
    """Read what CloudNativePG reads: the Service's annotations, and the Secrets that they name."""
    client = await Client.connect(settings.kubeconfig)
    namespace, service = arguments.namespace, arguments.service
    try:
        metadata = (await client.get(kinds.SERVICE, service, namespace))["metadata"]
        labels, found = metadata.get("labels") or {}, metadata.get("annotations") or {}
        secrets = {}
        for role, key in (
            ("server", names.cnpg.SERVER_SECRET),
            ("client", names.cnpg.CLIENT_SECRET),
        ):
            if key not in found:
                raise errors.SettingsError(
                    f"Service {namespace}/{service} has no annotation {key}: CloudNativePG would "
                    "not register it"
                )
            body = await client.get(kinds.SECRET, found[key], namespace)
            secrets[role] = observe.read_secret(body) or {}
    finally:
        await client.close()
    address = arguments.address or f"{service}.{namespace}.svc:{found.get(names.cnpg.PLUGIN_PORT)}"
    endpoint = _endpoint(
        address,
        arguments.server_name or found.get(names.cnpg.SERVER_NAME) or service,
        arguments.plugin_name or labels.get(names.cnpg.PLUGIN_NAME) or "",
    )
    client_pair = secrets["client"]
    return endpoint, Material(
        trust=secrets["server"].get("tls.crt", b""),
        certificate=client_pair.get("tls.crt", b""),
        key=client_pair.get("tls.key", b""),
    )


def _from_files(arguments: argparse.Namespace) -> tuple[Endpoint, Material]:
    needed = ("address", "plugin_name", "server_cert", "client_cert", "client_key")
    missing = [f"--{name.replace('_', '-')}" for name in needed if not getattr(arguments, name)]
    if missing:
        raise errors.SettingsError(
            f"name a Service, or give {', '.join(missing)} as well (see --help)"
        )
    try:
        trust, certificate, key = (
            path.read_bytes()
            for path in (arguments.server_cert, arguments.client_cert, arguments.client_key)
        )
    except OSError as error:
        raise errors.SettingsError(f"cannot read {error.filename}: {error.strerror}") from error
    host = arguments.address.rpartition(":")[0]
    endpoint = _endpoint(arguments.address, arguments.server_name or host, arguments.plugin_name)
    return endpoint, Material(trust=trust, certificate=certificate, key=key)


def _endpoint(address: str, server_name: str, plugin_name: str) -> Endpoint:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise errors.SettingsError(f"{address!r} is not HOST:PORT")
    return Endpoint(host.strip("[]"), int(port), server_name, plugin_name)


def _render_json(endpoint: Endpoint, outcome: HandshakeOutcome, duration: float) -> str:
    return json.dumps(
        {
            "succeeded": outcome.succeeded,
            "reason": outcome.reason.value,
            "message": outcome.message,
            "endpoint": asdict(endpoint),
            "plugin": asdict(outcome.identity) if outcome.identity else None,
            "durationSeconds": round(duration, 4),
        },
        indent=2,
    )


def _render_text(endpoint: Endpoint, outcome: HandshakeOutcome, duration: float) -> str:
    mark = "ok" if outcome.succeeded else "FAILED"
    lines = [
        f"{mark}  {outcome.reason}: {outcome.message}",
        f"address       {endpoint.host}:{endpoint.port} (server name {endpoint.server_name})",
        f"took          {duration * 1000:.0f} ms",
    ]
    if outcome.identity is not None:
        lines += [
            f"plugin        {outcome.identity.name} {outcome.identity.version}",
            f"capabilities  {', '.join(outcome.identity.capabilities) or '(none)'}",
        ]
    return show(lines)
