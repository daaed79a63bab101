"""The part of a migration about TLS: Secrets, their files in the container, and who renews them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.desired.objects import Object
from cnpg_plugin_operator.desired.workload import SERVER_FLAGS

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Channel:
    """How CloudNativePG and the plugin reach each other."""

    server: str
    """Name of the Secret that the plugin presents."""
    client: str
    """Name of the Secret that CloudNativePG presents."""
    mounted: Mapping[str, str]
    """The directories at which these Secrets are mounted."""
    args: Sequence[str]
    server_name: str
    """The name that the server is verified for, where that has to be said."""
    moves: bool
    """Whether the plugin gets another Service."""

    @property
    def flags(self) -> dict[str, str]:
        """The server's flags, where all of them are given."""
        _, flags = split_flags(self.args)
        return flags if flags.keys() >= SERVER_FLAGS.keys() else {}

    @property
    def rest(self) -> list[str]:
        """The arguments that the resource has to give."""
        rest, _ = split_flags(self.args)
        return rest if self.flags else list(self.args)

    def describe(self) -> Object:
        """Describe it as `spec.tls`."""
        secrets = {"server": self.server, "client": self.client}
        tls: Object = {"provider": "Secrets", "secrets": secrets}
        files = {
            side: {"directory": self.mounted[name]}
            for side, name in secrets.items()
            if self.mounted.get(name, f"/{side}") != f"/{side}"
        }
        if files:
            tls["files"] = files
        if PurePosixPath(self.flags.get("--client-cert", "")).name == "ca.crt":
            tls["clientTrust"] = "Root"
        if self.server_name:
            tls["serverName"] = self.server_name
        return tls

    def find_remarks(self, certificates: Sequence[Body]) -> Iterator[str]:
        """Say what a person has to decide; `certificates` are all of the namespace."""
        for body in certificates:
            wanted = mapping(body.get("spec"))
            if wanted.get("secretName") in (self.server, self.client):
                issuer = mapping(wanted.get("issuerRef"))
                fields = "provider, secrets and serverName" if self.moves else "provider, secrets"
                yield (
                    f"Certificate {body['metadata']['name']} of {issuer.get('kind', 'Issuer')} "
                    f"{issuer.get('name')} writes Secret {wanted.get('secretName')}: keep both, or "
                    f"remove {fields} from spec.tls, and the operator issues its own certificates."
                )
        for side, name in (("server", self.server), ("client", self.client)):
            if name not in self.mounted:
                yield (
                    f"Secret {name} is not mounted as a directory: set spec.tls.files.{side} to "
                    "where the server expects its files."
                )
        if not self.flags:
            yield (
                "Set spec.tls.clientTrust to Root if the server trusts ca.crt of its client "
                "directory, not tls.crt."
            )


def split_flags(args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Take the server's flags out of arguments, as `--flag=value` or `--flag value`."""
    rest, flags = [], {}
    words = iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in SERVER_FLAGS:
            flags[flag] = value if equals else next(words, "")
        else:
            rest.append(word)
    return rest, flags
