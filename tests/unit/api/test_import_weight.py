"""Importing the API costs pydantic and nothing else."""

import subprocess
import sys

HEAVY = ("torch", "yaml", "kopf", "kubernetes", "aiohttp", "msgspec", "numpy", "transformers", "rich")


def test_importing_the_api_loads_nothing_heavy() -> None:
    code = f"import sys, rlvr_api; print(*(set({HEAVY!r}) & sys.modules.keys()))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []
