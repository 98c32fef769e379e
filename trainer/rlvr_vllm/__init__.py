"""Our part of vLLM: weights from a directory of safetensors, as a weight transfer backend.

vLLM loads it in each of its processes by its entry point (`vllm.general_plugins`).  Needs nothing but vLLM itself.
"""

from __future__ import annotations

from typing import Final

BACKEND: Final = "safetensors_dir"


def register() -> None:
    """Make `--weight-transfer-config '{"backend": "safetensors_dir"}'` known; harmless when repeated."""
    from rlvr_vllm.directory import register_backend  # noqa: PLC0415 - imports vLLM, which is importing us

    register_backend(BACKEND)
