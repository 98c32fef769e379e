"""What the API server asks a node for logs: a kubelet with nothing but `/containerLogs`, on the loopback interface."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes_server import ControlPlane

NODE = "node-with-logs"


@dataclass
class FakeKubelet:
    """Logs by `pod/container`; a followed log waits for `goes_on` before its second half."""

    logs: Mapping[str, str]
    goes_on: threading.Event = field(default_factory=threading.Event)
    queries: list[dict[str, str]] = field(default_factory=list)

    def parts(self, path: str) -> Iterator[bytes]:
        """Two halves of the log that `path` asks for."""
        address = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.queries.append(query)
        *_, pod, container = address.path.split("/")
        lines = self.logs[f"{pod}/{container}"].splitlines(keepends=True)
        yield "".join(lines[: len(lines) // 2]).encode()
        if query.get("follow") == "true":
            self.goes_on.wait(30)
        yield "".join(lines[len(lines) // 2 :]).encode()


@contextmanager
def a_fake_kubelet(plane: ControlPlane, logs: Mapping[str, str]) -> Iterator[FakeKubelet]:
    """A node named NODE whose kubelet serves `logs`."""
    kubelet = FakeKubelet(logs)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            for part in chain(kubelet.parts(self.path), [b""]):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(plane.folder / "server.crt", plane.folder / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _add_node(plane, port=server.server_address[1])
        yield kubelet
        server.shutdown()


def _add_node(plane: ControlPlane, *, port: int) -> None:
    status: dict[str, Any] = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    plane.kubectl("create", "-f", "-", stdin=json.dumps(node))
    patch = json.dumps({"status": status})
    plane.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p", patch)
