"""`python -m rlvr_operator`: the operator process, configured by its environment alone."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Iterable

from rlvr_operator.app import serve
from rlvr_operator.cluster.client import Client, find_access
from rlvr_operator.cluster.discovery import Found, discover, first_found
from rlvr_operator.cluster.resources import Raw, Resource
from rlvr_operator.errors import ApiError, InvalidSettings, Unavailable
from rlvr_operator.logs import start_logging
from rlvr_operator.observed import JobSeen
from rlvr_operator.parsing import parse_job, parse_pod
from rlvr_operator.reconcile import reconcile
from rlvr_operator.runtime import Logic, Runtime
from rlvr_operator.settings import Settings, read_settings
from rlvr_operator.workloads import GANG_APIS, HASH, POD_GROUP, Kit, gang_problem

log = logging.getLogger(__name__)


def main() -> int:
    """Exit code: 0 after a signal, 64 when the environment cannot work, 1 when something broke."""
    try:
        settings = read_settings(os.environ)
    except InvalidSettings as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging is not set up without settings
        return 64
    start_logging(settings.log_level)
    _calm_the_garbage_collector()
    asyncio.run(_operate(settings))
    return 0


def _calm_the_garbage_collector() -> None:
    """Caches are many objects that stay; walking through all of them again and again costs 6% of the time at scale."""
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _operate(settings: Settings) -> None:
    access = await find_access()
    client = Client(access, connect_timeout=settings.connect_timeout, request_timeout=settings.request_timeout)
    installation = Installation(settings, await first_found(client, GANG_APIS))
    await client.close()
    logic = Logic(
        reconcile=lambda seen: reconcile(seen, installation.kit),
        parse_job=parse_job,
        parse_pod=parse_pod,
        hash_of=_hash_of,
        pod_groups=_pod_groups(GANG_APIS),
        served=lambda: _pod_groups(installation.kit.gang_apis),
        lacks_gang=installation.lacks_gang_of,
        refresh=installation.refresh,
    )
    await serve(Runtime(access, settings, logic), access, settings)


class Installation:
    """The kit of the present: the keys of ServiceAccount tokens are changed from time to time, gang APIs come later."""

    def __init__(self, settings: Settings, found: Found) -> None:
        self._settings = settings
        self.kit = _kit(settings, found)

    async def refresh(self, client: Client) -> None:
        try:
            found = await discover(client, GANG_APIS)
        except (ApiError, Unavailable) as error:
            log.info("The cluster was not asked again for keys and gang APIs: %s", error)
            return
        if later := sorted(found.gang_apis - self.kit.gang_apis):
            log.info("The cluster has gang APIs that it had not before: %s.", ", ".join(later))
        self.kit = _kit(self._settings, found)

    def lacks_gang_of(self, job: JobSeen) -> bool:
        return job.spec is not None and gang_problem(job, self.kit) is not None


def _kit(settings: Settings, found: Found) -> Kit:
    return Kit(
        trainer_image=settings.trainer_image,
        engine_image=settings.engine_image,
        reward_image=settings.reward_image,
        operator_namespace=settings.namespace,
        operator_service_account=settings.service_account,
        issuer=found.issuer,
        jwks=found.jwks,
        gang_apis=found.gang_apis,
        cluster_domain=settings.cluster_domain,
        monitoring_namespace=settings.monitoring_namespace,
    )


def _pod_groups(apis: Iterable[str]) -> tuple[Resource, ...]:
    return tuple(Resource(api, POD_GROUP) for api in sorted(apis) if GANG_APIS[api] == POD_GROUP)


def _hash_of(raw: Raw) -> str:
    return str(raw["metadata"].get("annotations", {}).get(HASH, ""))


if __name__ == "__main__":
    sys.exit(main())
