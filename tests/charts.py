"""The chart as both Helms render it; they are found in KUBEBUILDER_ASSETS or on the PATH.

objects = rendered("helm4", "--set", "replicas=3")
the(objects, "Deployment")["spec"]["replicas"]
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

CHART: Final = Path(__file__).parents[1] / "charts" / "rlvr-operator"
CI: Final = sorted((CHART / "ci").glob("*.yaml"))
HELMS: Final = ("helm", "helm4")
"""Helm 3 and Helm 4."""
MISSING: Final = "no Helm: put `helm` (3) and `helm4` (4) into the folder KUBEBUILDER_ASSETS or on the PATH"
NAMESPACE: Final = "rlvr-system"
RELEASE: Final = "rlvr-operator"
_KUBERNETES: Final = "1.36.0"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the definition is long


def find_helm(name: str) -> str:
    """The path of a Helm; skips the test when there is none."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ["PATH"])))
    if found is None:
        pytest.skip(MISSING)
    return found


def run_helm(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([find_helm(name), *arguments], text=True, capture_output=True, check=False, timeout=120)


def try_render(name: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
    command = ("template", CHART, "--name-template", RELEASE, "--namespace", NAMESPACE, "--kube-version", _KUBERNETES)
    return run_helm(name, *command, *options)


@cache
def rendered(name: str, *options: str | Path) -> tuple[dict[str, Any], ...]:
    """Every object that the chart makes, hooks too."""
    done = try_render(name, *options)
    assert done.returncode == 0, done.stderr
    return tuple(found for found in yaml.load_all(done.stdout, Loader=_LOADER) if found)


def of_kind(objects: tuple[dict[str, Any], ...], kind: str) -> dict[str, dict[str, Any]]:
    """Objects of a kind by name."""
    return {it["metadata"]["name"]: it for it in objects if it["kind"] == kind}


def the(objects: tuple[dict[str, Any], ...], kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (found,) = of_kind(objects, kind).values()
    return found


def leaves(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Every value by its path; a map with members is a group of values."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        where = f"{path}.{name}" if path else name
        is_group = isinstance(value, dict) and value and not where.startswith("pod.resources.")
        found |= leaves(value, where) if is_group else {where: value}
    return found
