"""For tests only: what stands in for NCCL where there is no GPU, on the learner's side and inside a real vLLM.

Tensors travel through a TCP store of torch.  All else is what a GPU would see: the learner's plan and calls, the agent,
vLLM's routes and workers, and the layer-by-layer loading of its own NCCL engine, whose place the stand-in takes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor
from torch.distributed import TCPStore

from rlvr_api import RLVRJobSpec
from rlvr_trainer.engines.vllm import command, environment
from rlvr_trainer.learner.broadcasting.nccl import rendezvous_of
from role_processes import Role, free_port

HOST = "127.0.0.1"
PATIENCE = timedelta(seconds=60)


class StandIn:
    """The learner's transport; `breaks_at` is the number of the tensor before which it gives way, once."""

    def __init__(self) -> None:
        self.breaks_at: int | None = None
        self._port = 0
        self._round = 0
        self._store: TCPStore | None = None

    def rendezvous(self) -> dict[str, Any]:
        self._port, self._round = free_port(), 0
        return rendezvous_of(str(self._port).encode().ljust(128, b"\0"))

    def join(self, world_size: int) -> None:
        self._store = TCPStore(HOST, self._port, world_size, is_master=True, timeout=PATIENCE)

    def broadcast(self, weights: Mapping[str, Tensor]) -> None:
        assert self._store is not None, "joined before"
        self._round += 1
        for number, tensor in enumerate(weights.values()):
            if number == self.breaks_at:
                self.breaks_at = None
                self._store.wait([f"{self._round}/{number - 1}/loaded"])
                raise RuntimeError("the stand-in was told to break")
            self._store.set(f"{self._round}/{number}", save({"tensor": tensor}))

    def abandon(self) -> None:
        self._store = None


def register() -> None:
    """Take the place of vLLM's NCCL engine; every process of vLLM calls it by our entry point."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory  # noqa: PLC0415
    from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine  # noqa: PLC0415

    class StandInEngine(NCCLWeightTransferEngine):  # type: ignore[misc]
        """vLLM's own, but for how tensors come."""

        def init_transfer_engine(self, init_info: Any) -> None:
            port = int(init_info.nccl_unique_id_bytes.rstrip(b"\0"))
            self.model_update_group = TCPStore(HOST, port, init_info.world_size, is_master=False, timeout=PATIENCE)
            self._round = 0

        def update_weights(self, update_info: dict[str, Any]) -> None:
            self.receive_weights(self.parse_update_info(update_info))

        def receive_weights(self, update_info: Any) -> None:
            self._round += 1
            for number, name in enumerate(update_info.names):
                tensor = load(self.model_update_group.get(f"{self._round}/{number}"))["tensor"]
                self.model.load_weights([(name, tensor)])
                self.model_update_group.set(f"{self._round}/{number}/loaded", "")

        def shutdown(self) -> None:
            self.model_update_group = None

    WeightTransferEngineFactory._registry["nccl"] = lambda: StandInEngine


@contextmanager
def running_vllm(spec: RLVRJobSpec, folder: Path) -> Iterator[Role]:
    """vLLM on this machine's CPU as a job that takes broadcasts starts it, with the stand-in; ends with the block."""
    package = folder / "plugin" / "broadcast_stand_in-0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broadcast-stand-in\nVersion: 0\n")
    (package / "entry_points.txt").write_text("[vllm.general_plugins]\nstand_in = broadcast_stand_in:register\n")
    paths = [str(package.parent), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    port, log = free_port(), folder / "vllm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(spec, port=port, devices=0, has_plugin=False),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment(0), "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
    try:
        yield Role(url=f"http://{HOST}:{port}", port=port, process=process, log=log)
    finally:
        process.terminate()  # asked, it ends with all its processes
        process.wait(30)
