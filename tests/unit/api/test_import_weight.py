"""Importing the API costs pydantic and nothing else."""

import subprocess
import sys

HEAVY = ("torch", "yaml", "kopf", "kubernetes", "aiohttp", "msgspec", "numpy", "transformers", "rich")


def test_importing_the_api_loads_nothing_heavy() -> None:
    code = f"import sys, rlvr_api; print(*(set({HEAVY!r}) & sys.modules.keys()))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []


def test_importing_the_api_takes_about_as_long_as_importing_pydantic() -> None:
    """Typically 1.1 times as long; as a ratio in one process, a busy machine does not matter."""
    clock = "time.process_time()"
    code = f"import time; a = {clock}; import pydantic.main; b = {clock}; import rlvr_api; c = {clock}; "
    code += "print((c - b) / (b - a))"

    ratio = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )
    assert ratio < 2.5, f"{ratio:.2f} times as long"
