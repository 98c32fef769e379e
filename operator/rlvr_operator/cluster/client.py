"""Requests to the API server, as plain dictionaries: a thin layer over the transport of the official client.

Every request has time-outs.  "Not now" (429, 503 and the like) is waited for as the server asks, a few times; no answer
at all is Unavailable at once, and whoever asked has a queue or a loop to come back from.  Writes are made only while
`permit` gives them time.  Nothing here decides what a refusal means.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from rlvr_operator.cluster.requests import APPLY, MANAGER, MERGE, Lines, Request, Scope, message_of, wait_before
from rlvr_operator.cluster.resources import Raw, Resource, resource_of
from rlvr_operator.errors import NOT_NOW, Conflict, LeadershipLost, Unavailable, error_of

_ATTEMPTS: Final = 4
_LEAST_SECONDS: Final = 0.5
_OF_NOTHING: Final = "1"
"""A resource version that no object has: etcd's first write is its second revision."""
_SERVER: Final = Resource("v1", "Server")
"""Stands for documents that are about no resource."""

Access = Configuration
"""Where the API server is and who we are to it."""
Count = Callable[[str, str, int], None]
"""Told verb, resource and code of every answer; code 0 is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An access in words that every client understands."""

    server: str
    ca_file: str | None
    is_insecure: bool
    scheme: str | None
    token: str | None
    certificate_file: str | None
    key_file: str | None


async def find_access() -> Access:
    """As kubectl finds it: in the cluster, else the kubeconfig (KUBECONFIG, ~/.kube/config)."""
    access = Configuration()
    try:
        kubernetes_config.load_incluster_config(client_configuration=access)
    except kubernetes_config.ConfigException:
        await kubernetes_config.load_kube_config(client_configuration=access)
    # The transport would look for proxies and .netrc at every request, which halves the rate of requests.
    access.client_session_kwargs = {"trust_env": False}
    access.connection_pool_maxsize = 100
    return access


async def credentials(access: Access) -> Credentials:
    """What is true now; tokens are rotated."""
    header = await access.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    scheme, _, token = header.rpartition(" ")
    return Credentials(
        server=access.host,
        ca_file=access.ssl_ca_cert,
        is_insecure=not access.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_file=access.cert_file,
        key_file=access.key_file,
    )


class Client:
    """One connection pool to the API server."""

    def __init__(
        self,
        access: Access,
        *,
        connect_timeout: float = 3.0,
        request_timeout: float = 10.0,
        permit: Callable[[], float] = lambda: float("inf"),
        count: Count = lambda _verb, _resource, _code: None,
    ) -> None:
        self._access = access
        self._transport = RESTClientObject(access)
        self._connect_timeout = connect_timeout
        self._request_timeout = request_timeout
        self._permit = permit
        self._count = count

    async def close(self) -> None:
        await self._transport.close()

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Raw:
        return await self._ask(Request(verb="GET", resource=resource, path=resource.path(namespace, name)))

    async def read(self, path: str) -> Raw:
        """A document of the server itself, such as /apis."""
        return await self._ask(Request(verb="GET", resource=_SERVER, path=path, accept="application/json, */*"))

    async def list(self, scope: Scope, *, chunk: int = 500) -> AsyncIterator[Raw]:
        """Lists of up to `chunk` objects each."""
        more = ""
        while True:
            query = {"limit": str(chunk), "labelSelector": scope.selector, "continue": more}
            accept = scope.accept(is_list=True)
            part = await self._ask(
                Request(verb="GET", resource=scope.resource, path=scope.path, query=query, accept=accept)
            )
            yield part
            more = part["metadata"].get("continue", "")
            if not more:
                return

    async def watch(self, scope: Scope, version: str, *, seconds: float) -> AsyncIterator[Raw]:
        """Events after `version`, the first of them our own "CONNECTED"; ends by the server's will after `seconds`."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": scope.selector,
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        accept = scope.accept(is_list=False)
        request = Request(verb="GET", resource=scope.resource, path=scope.path, query=query, accept=accept)
        silence = seconds + self._request_timeout
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout, sock_read=silence)
        try:
            async with await self._open(request, limits) as answer:
                self._count("WATCH", scope.resource.plural, answer.status)
                if answer.status >= 300:
                    raise error_of(answer.status, message_of(await answer.read(), request))
                yield {"type": "CONNECTED"}
                async for event in _events(answer):
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._count("WATCH", scope.resource.plural, 0)
            raise Unavailable(f"watch of {scope.resource.plural}: {_words(error)}") from error

    async def create(self, manifest: Raw) -> Raw | None:
        """The created object; None when one of that name exists already."""
        resource = resource_of(manifest)
        path = resource.path(manifest["metadata"].get("namespace", ""))
        try:
            return await self._ask(
                Request(verb="POST", resource=resource, path=path, body=manifest, query={"fieldManager": MANAGER})
            )
        except Conflict:
            return None

    async def create_sub(self, resource: Resource, name: str, sub: str, *, namespace: str, body: Raw) -> Raw:
        """POST to a subresource, such as a ServiceAccount's token."""
        path = resource.path(namespace, name, sub)
        return await self._ask(Request(verb="POST", resource=resource, path=path, body=body))

    async def apply(self, manifest: Raw, *, uid: str = "") -> Raw:
        """Server-side apply of the object `uid`, or of one that is not there yet; Conflict when that is not so.

        What others own of the same fields is taken over.
        """
        resource, metadata = resource_of(manifest), manifest["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        query = {"fieldManager": MANAGER, "force": "true"}
        guard = {"uid": uid} if uid else {"resourceVersion": _OF_NOTHING}
        body = {**manifest, "metadata": {**metadata, **guard}}
        return await self._ask(
            Request(verb="PATCH", resource=resource, path=path, body=body, content=APPLY, query=query)
        )

    async def patch(self, resource: Resource, name: str, *, namespace: str, body: Raw, sub: str = "") -> Raw:
        """JSON merge patch; metadata.resourceVersion or metadata.uid in `body` guard it."""
        path, query = resource.path(namespace, name, sub), {"fieldManager": MANAGER}
        return await self._ask(
            Request(verb="PATCH", resource=resource, path=path, body=body, content=MERGE, query=query)
        )

    async def replace(self, manifest: Raw) -> Raw:
        """PUT; the resourceVersion in the manifest guards it."""
        resource, metadata = resource_of(manifest), manifest["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        return await self._ask(
            Request(verb="PUT", resource=resource, path=path, body=manifest, query={"fieldManager": MANAGER})
        )

    async def delete(
        self, resource: Resource, name: str, *, namespace: str, uid: str = "", grace: int | None = None
    ) -> Raw:
        """The incarnation `uid` (empty: whichever there is) on its way out, or the server's word that it is gone."""
        options: Raw = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        path = resource.path(namespace, name)
        return await self._ask(Request(verb="DELETE", resource=resource, path=path, body=options))

    async def _ask(self, request: Request) -> Raw:
        """The answer, after waiting for a server that says "not now"."""
        attempt = 1
        while True:
            status, text, retry_after = await self._once(request)
            if status < 300:
                found: Raw = json.loads(text)
                return found
            if status not in NOT_NOW or attempt == _ATTEMPTS:
                raise error_of(status, message_of(text, request))
            await asyncio.sleep(wait_before(attempt, retry_after))
            attempt += 1

    async def _once(self, request: Request) -> tuple[int, bytes, str]:
        """Code, text and Retry-After of one attempt."""
        limits = aiohttp.ClientTimeout(total=self._seconds_for(request), sock_connect=self._connect_timeout)
        try:
            async with await self._open(request, limits) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._count(request.verb, request.resource.plural, 0)
            raise Unavailable(f"{request.verb} {request.path}: {_words(error)}") from error
        self._count(request.verb, request.resource.plural, answer.status)
        return answer.status, text, answer.headers.get("Retry-After", "")

    def _seconds_for(self, request: Request) -> float:
        """A write that could arrive after another process became the leader is not begun."""
        if not request.is_write:
            return self._request_timeout
        left = self._permit()
        if left < _LEAST_SECONDS:
            raise LeadershipLost("the Lease could not be renewed in time")
        return min(left, self._request_timeout)

    async def _open(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Asks for the token each time: tokens are rotated."""
        token = await self._access.get_api_key_with_prefix("BearerToken", alias="authorization")
        headers = request.headers | ({"Authorization": token} if token else {})
        url = f"{self._access.host}{request.target}"
        answer = await self._transport.request(
            request.verb, url, headers=headers, body=request.body, _request_timeout=limits
        )
        response: aiohttp.ClientResponse = answer.response
        return response


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Raw]:
    """One JSON object a line; an ERROR event is raised."""
    lines = Lines()
    async for piece in answer.content.iter_any():
        for line in lines.take(piece):
            event: Raw = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise error_of(int(status.get("code", 500)), str(status.get("message", "error event")))
            yield event
