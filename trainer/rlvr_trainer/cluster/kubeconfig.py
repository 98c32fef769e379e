"""Which context of which kubeconfig: chosen as kubectl chooses, refused in words that say what there is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from rlvr_trainer.errors import InvalidInput

_DEFAULT: Final = "~/.kube/config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A context."""

    files: str
    """One or more paths, separated as in KUBECONFIG."""
    context: str
    namespace: str


def choose(environment: Mapping[str, str], *, kubeconfig: str | None, context: str | None) -> Chosen | None:
    """The context to use; None within a pod that has no kubeconfig.  InvalidInput when there is none."""
    files = kubeconfig or environment.get("KUBECONFIG") or _DEFAULT
    paths = [Path(file).expanduser() for file in files.split(os.pathsep) if file]
    present = [path for path in paths if path.exists()]
    if not present and kubeconfig is None and "KUBERNETES_SERVICE_HOST" in environment:
        return None
    if not present:
        raise InvalidInput(
            f"there is no kubeconfig at {files}: give one with --kubeconfig FILE, or set KUBECONFIG to its path."
        )
    contents = [_read(path) for path in present]
    contexts = _contexts(contents)
    name = context or next((found for content in contents if (found := content.get("current-context"))), None)
    known = f"there is {', '.join(contexts)}" if contexts else "it has none"
    if name is None:
        raise InvalidInput(f"the kubeconfig {files} has no current context: choose one with --context; {known}.")
    if name not in contexts:
        raise InvalidInput(f"context {name!r} is not in the kubeconfig {files}: {known}.")
    return Chosen(files=files, context=name, namespace=contexts[name].get("namespace") or "default")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"the kubeconfig {path} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} is no kubeconfig: give another with --kubeconfig FILE.")
    return content


def _contexts(contents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Contexts by name; the first file that has a name wins."""
    found: dict[str, dict[str, Any]] = {}
    for content in contents:
        for item in content.get("contexts") or ():
            found.setdefault(item["name"], item.get("context") or {})
    return found
