"""The API server behind a kubeconfig: the trainer's only import of the official client.

Objects stay plain dictionaries.  Every request has time-outs; nothing is tried twice here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.cluster.kubeconfig import choose
from rlvr_trainer.cluster.refusals import ClusterError, refusal
from rlvr_trainer.cluster.requests import Object, Request
from rlvr_trainer.errors import InvalidInput, Unavailable

try:
    from kubernetes import config
    from kubernetes.client import ApiClient, ApiException, Configuration
    from urllib3.exceptions import HTTPError
except ImportError as error:
    raise ClusterError(
        f"{error.name} is not installed, and speaking to a cluster needs it: pip install 'rlvr-operator[cluster]'."
    ) from error

_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 30.0
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Server:
    """One API server, asked with the rights of one kubeconfig context."""

    def __init__(self, configuration: Configuration, *, namespace: str) -> None:
        configuration.retries = False
        self._client = ApiClient(configuration)
        self._host = configuration.host
        self._namespace = namespace

    @property
    def namespace(self) -> str:
        return self._namespace

    def ask(self, request: Request) -> Object:
        with _our_errors(self._host):
            answer = self._send(request, _ANSWER_SECONDS)
            body = answer.read()
        if answer.status >= 300:
            raise refusal(request, answer.status, _status_in(body))
        found: Object = json.loads(body)
        return found

    def lines(self, request: Request, *, silence_seconds: float | None) -> Iterator[str]:
        with _our_errors(self._host):
            answer = self._send(request, silence_seconds)
            try:
                if answer.status >= 300:
                    raise refusal(request, answer.status, _status_in(answer.read()))
                yield from _lines_of(answer.response)
            finally:
                answer.response.close()

    def _send(self, request: Request, seconds: float | None) -> Any:
        serialized = self._client.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query.items()),
            header_params={"Accept": request.accept, "Content-Type": request.content},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        return self._client.call_api(*serialized, _request_timeout=(_CONNECT_SECONDS, seconds))


def connect(*, kubeconfig: str | None, context: str | None) -> Server:
    """The server that kubectl would speak to; InvalidInput when the kubeconfig does not say which."""
    chosen = choose(os.environ, kubeconfig=kubeconfig, context=context)
    configuration = Configuration()
    if chosen is None:
        config.load_incluster_config(client_configuration=configuration)
        return Server(configuration, namespace=_POD_NAMESPACE.read_text().strip())
    try:
        config.load_kube_config(chosen.files, context=chosen.context, client_configuration=configuration)
    except (config.ConfigException, KeyError, TypeError, ValueError, OSError) as error:
        raise InvalidInput(
            f"context {chosen.context!r} of the kubeconfig {chosen.files} cannot be used: "
            f"{' '.join(str(error).split())}"
        ) from error
    return Server(configuration, namespace=chosen.namespace)


@contextmanager
def _our_errors(host: str) -> Iterator[None]:
    """No answer, in our words."""
    try:
        yield
    except ApiException as error:  # the client's word for a TLS failure
        raise ClusterError(
            f"the certificate of the API server at {host} is not trusted: see certificate-authority of this context in "
            f"the kubeconfig ({' '.join(str(error.reason).split())})."
        ) from error
    except (HTTPError, OSError) as error:
        if isinstance(error, Unavailable):
            raise
        raise Unavailable(
            f"cannot reach the API server at {host}: {_reason(error)}. See whether the cluster is up, and whether "
            "this is the right context (--context, KUBECONFIG)."
        ) from error


def _reason(error: BaseException) -> str:
    """The innermost cause, without the addresses of Python objects."""
    words = str(error).rpartition(">: ")[2] or type(error).__name__
    return " ".join(words.split()).rstrip(".")


def _status_in(body: bytes) -> Object:
    """A metav1.Status; a proxy in between may answer with anything else."""
    try:
        found = json.loads(body)
    except ValueError:
        return {"message": body.decode(errors="replace")[:200]}
    return found if isinstance(found, dict) else {"message": str(found)[:200]}


def _lines_of(response: Any) -> Iterator[str]:
    rest = b""
    for chunk in response.stream(amt=None, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
