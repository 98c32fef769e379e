"""Canaries: a secret in a file and the environment, servers that nobody may reach, a process that nobody may touch."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

_VICTIM = "import os, sys; os.environ['CANARY'] = sys.argv[1]; sys.stdin.read()"


@dataclass(slots=True, kw_only=True)
class Canaries:
    """What was put out, and who touched it."""

    secret: str
    folder: Path
    scene: dict[str, str]
    victim: subprocess.Popen[bytes]
    visits: list[str] = field(default_factory=list)

    def touched(self) -> list[str]:
        """What happened to them, in words."""
        found = [f"somebody reached {name}" for name in self.visits]
        with suppress(OSError):
            if (self.folder / "secret").read_text() == self.secret:
                return [*found, *self._changed()]
        return [*found, "the secret's file was changed"]

    def _changed(self) -> list[str]:
        left = sorted(path.name for path in self.folder.iterdir() if path.name not in ("secret", "socket", "canary.py"))
        dead = [] if self.victim.poll() is None else ["the bystander was killed"]
        return [f"{name} was left in the folder" for name in left] + dead


@contextmanager
def canaries(folder: Path) -> Iterator[Canaries]:
    """Put them out in `folder`; they are gone when the block ends."""
    secret = f"canary{token_hex(12)}"
    abstract = f"hostile-{token_hex(6)}"
    (folder / "secret").write_text(secret)
    (folder / "canary.py").write_text(f"print({secret!r})")
    for path in (folder, folder / "secret"):
        path.chmod(0o777)
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        _unix(str(folder / "socket")) as named,
        _unix(f"\0{abstract}") as unnamed,
        subprocess.Popen([sys.executable, "-c", _VICTIM, secret], stdin=subprocess.PIPE) as victim,
    ):
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        (folder / "socket").chmod(0o777)
        scene = {
            "FILE": f"{folder}/secret",
            "FOLDER": str(folder),
            "PORT": str(port),
            "SOCKET": f"{folder}/socket",
            "ABSTRACT": abstract,
            "VICTIM": str(victim.pid),
        }
        put_out = Canaries(secret=secret, folder=folder, scene=scene, victim=victim)
        for name, server in {"TCP": tcp, "UDP": udp, "a socket": named, "an abstract socket": unnamed}.items():
            threading.Thread(target=_watch, args=(put_out, name, server), daemon=True).start()
        try:
            yield put_out
        finally:
            victim.kill()


def _unix(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    return server


def _watch(put_out: Canaries, name: str, server: socket.socket) -> None:
    """Note every visit and give the visitor the secret."""
    with suppress(OSError):
        while True:
            if server.type is socket.SOCK_DGRAM:
                server.recvfrom(99)
                put_out.visits.append(name)
                continue
            visitor, _ = server.accept()
            put_out.visits.append(name)
            with visitor, suppress(OSError):
                visitor.sendall(put_out.secret.encode())
