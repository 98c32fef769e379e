"""What the cluster offers: gang scheduling APIs, the keys of its ServiceAccount tokens, and our own kind.

Found by asking, never assumed.  A gang API that is installed later is noticed when the operator starts again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from rlvr_api import contract
from rlvr_operator.cluster.client import Client
from rlvr_operator.errors import ApiError, Missing, Unavailable

log = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 2.0
_SAY_AGAIN: Final = 15
"""One line in so many attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a cluster offers."""

    gang_apis: frozenset[str]
    issuer: str
    jwks: str


async def first_found(client: Client, candidates: Collection[str]) -> Found:
    """What there is once the API server answers and serves RLVRJobs; says from time to time what it waits for."""
    attempt = 0
    while True:
        try:
            kinds = await client.read(f"/apis/{contract.API_VERSION}")
            if any(it["name"] == contract.PLURAL for it in kinds["resources"]):
                return await discover(client, candidates)
            reason = f"{contract.API_VERSION} has no {contract.PLURAL}"
        except Missing:
            reason = "the CustomResourceDefinition of RLVRJob is not installed; apply crds/rlvrjobs.rlvr.dev.yaml"
        except (ApiError, Unavailable) as error:
            reason = str(error)
        if attempt % _SAY_AGAIN == 0:
            log.warning("Waiting: %s", reason)
        attempt += 1
        await asyncio.sleep(_PAUSE_SECONDS)


async def discover(client: Client, candidates: Collection[str]) -> Found:
    """`candidates` are group/versions that gangs could use."""
    groups = (await client.read("/apis"))["groups"]
    served = {version["groupVersion"] for group in groups for version in group["versions"]}
    openid = await client.read("/.well-known/openid-configuration")
    keys = await client.read("/openid/v1/jwks")
    return Found(
        gang_apis=frozenset(served & set(candidates)),
        issuer=str(openid["issuer"]),
        jwks=json.dumps(keys, sort_keys=True, separators=(",", ":")),
    )
