"""Importing the API costs pydantic and nothing else."""

import subprocess
import sys

HEAVY = ("torch", "yaml", "kopf", "kubernetes", "aiohttp", "msgspec", "numpy", "transformers", "rich")


def test_importing_the_api_loads_nothing_heavy() -> None:
    code = f"import sys, rlvr_api; print(*(set({HEAVY!r}) & sys.modules.keys()))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []


def test_the_api_is_imported_in_a_moment() -> None:
    code = "import time; start = time.process_time(); import rlvr_api; print(time.process_time() - start)"

    seconds = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )
    assert seconds < 0.4, f"{seconds:.2f} s of processor time; it was 0.22 s on a slow core"
