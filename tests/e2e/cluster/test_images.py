"""The images as a node has them: nobody is root, nothing is there that is not needed, the root is not written to."""

import json

import pytest

from e2e.cluster.conftest import REGISTRY, TAG
from e2e.cluster.jobs import Team

LOOK = """
import importlib.util, json, os, shutil, sys
print(json.dumps({
    "user": os.getuid(),
    "modules": [it for it in sys.argv[1:] if importlib.util.find_spec(it)],
    "tools": [it for it in ("pip", "gcc", "curl") if shutil.which(it)],
    "writes": os.access("/", os.W_OK) or os.access("/opt", os.W_OK),
}))
"""
OURS = ["rlvr_api", "rlvr_operator", "rlvr_trainer"]


@pytest.mark.parametrize(("image", "others"), [("operator", ["kopf"]), ("reward", []), ("trainer", ["torch"])])
def test_an_image_runs_without_root_and_has_what_its_role_needs_only(team: Team, image: str, others: list[str]) -> None:
    team.start_pod("look", f"{REGISTRY}/rlvr-{image}:{TAG}")
    found = json.loads(team.kubectl("exec", "look", "--", "python3", "-c", LOOK, *OURS, "torch", "kopf"))

    assert found == {"user": 10001, "modules": [*OURS, *others], "tools": [], "writes": False}
