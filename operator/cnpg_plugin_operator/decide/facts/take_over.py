"""Facts about an installation without this operator, which a plugin takes over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cnpg_plugin_operator import names

Left = tuple[str, str, str]
"""Kind, namespace and name of an object of the previous installation."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What this operator did to the scale of a previous Deployment."""

    at: datetime
    cause: str
    """The resource and generation that it was for."""
    replicas: int
    """How many replicas there were before."""
    restored: bool = False
    """Whether it was scaled up again, because the plugin did not serve."""


@dataclass(frozen=True, slots=True)
class PreviousDeployment:
    """A Deployment whose pods serve behind the Service that is taken over."""

    name: str
    replicas: int
    scaling: Scaling | None = None


@dataclass(frozen=True, slots=True)
class Previous:
    """The Service that a plugin takes over, and what is behind it."""

    service: str
    published: bool = False
    """Whether CloudNativePG may still use it: it has the plugin's name and another owner."""
    foreign: bool = False
    """Whether the Service exists and has another owner."""
    plugin: str = ""
    """The living `CNPGPlugin` that owns it, or empty."""
    announced: Mapping[str, str] = field(default_factory=dict)
    """CloudNativePG's annotations on it."""
    deployments: tuple[PreviousDeployment, ...] = ()
    leases: tuple[str, ...] = ()
    """The Leases that its pods hold."""
    left: tuple[Left, ...] = ()
    """The objects that exist and that the plugin does not use."""
    recorded: bool = True
    """Whether the status names all of them, so that they can be found once the Service is gone."""

    @property
    def port(self) -> str:
        """The port that CloudNativePG dials."""
        return self.announced.get(names.cnpg.PLUGIN_PORT, "")

    @property
    def server_name(self) -> str:
        """The name that CloudNativePG verifies its server for."""
        return self.announced.get(names.cnpg.SERVER_NAME) or self.service

    @property
    def secrets(self) -> tuple[str, str]:
        """The Secrets of its server and of CloudNativePG."""
        server, client = names.cnpg.SERVER_SECRET, names.cnpg.CLIENT_SECRET
        return self.announced.get(server, ""), self.announced.get(client, "")
