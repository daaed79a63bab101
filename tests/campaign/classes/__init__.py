"""The classes of plans. Each has a module, and a row here."""

from collections.abc import Mapping
from typing import Final

from tests.campaign.classes import cluster_wide, misoperations, mutations, requests, surroundings
from tests.campaign.plans import Enumerate

CLASSES: Final[Mapping[str, Enumerate]] = {
    "api-write": requests.writes,
    "api-read": requests.reads,
    "kill": requests.kills,
    "watch": requests.watches,
    "refusal": requests.refusals,
    "api-away": requests.aways,
    "token": requests.tokens,
    "rights": surroundings.rights,
    "quota": surroundings.quotas,
    "address": surroundings.addresses,
    "cnpg": surroundings.cnpg,
    "namespace": cluster_wide.namespace,
    "crds": cluster_wide.crds,
    "node": cluster_wide.node,
    "mutation": mutations.mutations,
    "misoperation": misoperations.misoperations,
}
"""In the order in which they run."""
