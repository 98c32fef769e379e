"""What the cluster offers: gang scheduling APIs, the keys of its ServiceAccount tokens, and our own kind.

Found by asking, never assumed.  A group/version counts when it serves the kind that is needed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
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


async def first_found(client: Client, candidates: Mapping[str, str]) -> Found:
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


async def discover(client: Client, candidates: Mapping[str, str]) -> Found:
    """`candidates` are kinds that gangs could use, by group/version."""
    openid = await client.read("/.well-known/openid-configuration")
    keys = await client.read("/openid/v1/jwks")
    return Found(
        gang_apis=await _served(client, candidates),
        issuer=str(openid["issuer"]),
        jwks=json.dumps(keys, sort_keys=True, separators=(",", ":")),
    )


async def _served(client: Client, candidates: Mapping[str, str]) -> frozenset[str]:
    """Group/versions of `candidates` that serve their kind; a group may be there for the sake of another kind."""
    groups = (await client.read("/apis"))["groups"]
    there = {version["groupVersion"] for group in groups for version in group["versions"]} & candidates.keys()
    kinds = {api: (await client.read(f"/apis/{api}"))["resources"] for api in sorted(there)}
    return frozenset(api for api, found in kinds.items() if any(it["kind"] == candidates[api] for it in found))
