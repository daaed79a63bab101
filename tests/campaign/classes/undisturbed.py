"""Plans without a disturbance: the recordings that all others are compared with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.campaign.lane import Lane
from tests.campaign.plans import Plan
from tests.campaign.workloads import Workload


@asynccontextmanager
async def nothing(lane: Lane) -> AsyncIterator[asyncio.Event]:
    """Disturb nothing."""
    happened = asyncio.Event()
    happened.set()
    yield happened


def undisturbed(workload: Workload) -> Plan:
    """Run a workload as it is."""
    return Plan("undisturbed", workload, "undisturbed", nothing)
