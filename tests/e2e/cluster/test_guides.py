"""The guides to install, upgrade and uninstall, command by command, on a cluster that has never had the operator."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from charts import HELMS, NAMESPACE, RELEASE, find_helm
from e2e.cluster.conftest import REGISTRY, TAG, install, make_namespace
from kubernetes_server import Cluster
from object_store import ACCESS_KEY, SECRET_KEY, ObjectStoreServer

ROOT = Path(__file__).parents[3]
WATCH = "until kubectl get rlvrjobs 2>/dev/null; do sleep 1; done; kubectl -n team get rlvrjobs --watch"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(guide: str) -> list[str]:
    """Every command that a guide tells people to give."""
    text = (ROOT / "docs" / "guides" / f"{guide}.md").read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.fixture(scope="module")
def lent(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, which has the operator again when the guides are through."""
    yield cluster
    clean(cluster)
    make_namespace(cluster, NAMESPACE)
    install(cluster)


@pytest.fixture(params=HELMS)
def shell(request: pytest.FixtureRequest, lent: Cluster, tmp_path: Path) -> dict[str, str]:
    """An environment in which `helm` is one of the two; the cluster knows nothing of us."""
    clean(lent)
    (tmp_path / "helm").symlink_to(find_helm(request.param))
    folders = (str(tmp_path), str(Path(sys.executable).parent), str(Path(lent.kubectl_path).parent))
    return {**os.environ, "PATH": os.pathsep.join((*folders, os.environ["PATH"]))}


def clean(cluster: Cluster) -> None:
    """What uninstalling does, from whatever state; jobs first, which the operator lets go."""
    if cluster.try_kubectl("get", "rlvrjobs").returncode == 0:
        cluster.kubectl("delete", "rlvrjobs", "--all", "--all-namespaces", "--timeout=110s")
    subprocess.run([find_helm("helm"), "uninstall", RELEASE, "--ignore-not-found", "-n", NAMESPACE], check=True)
    cluster.kubectl("delete", "namespace", NAMESPACE, "team", "--ignore-not-found", "--timeout=110s")
    cluster.kubectl("delete", "crd", "rlvrjobs.rlvr.dev", "--ignore-not-found", "--timeout=110s")


def run(guide: str, shell: dict[str, str], values: dict[str, str]) -> None:
    for written in commands(guide):
        command = written
        for example, real in values.items():
            command = command.replace(example, real)
        bash = ("bash", "-euo", "pipefail", "-c", command)
        done = subprocess.run(bash, cwd=ROOT, env=shell, text=True, capture_output=True, check=False)
        print(f"$ {command}\n{done.stdout}{done.stderr}", flush=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.timeout(2400)
def test_every_command_of_the_guides_does_what_it_says(
    cluster: Cluster, store: ObjectStoreServer, shell: dict[str, str], tmp_path: Path
) -> None:
    values = {
        "registry.example.com/ml": REGISTRY,
        "images.tag=0.1.0": f"images.tag={TAG}",
        "https://s3.example.com": store.endpoint,
        "KEY_ID=key": f"KEY_ID={ACCESS_KEY}",
        "ACCESS_KEY=secret": f"ACCESS_KEY={SECRET_KEY}",
        "s3://bucket": f"s3://{store.make_bucket()}",
    }
    with (
        (tmp_path / "watch.txt").open("wb") as log,
        subprocess.Popen(["bash", "-c", WATCH], env=shell, stdout=log, start_new_session=True) as watching,
    ):
        try:
            run("install", shell, values)
        finally:
            os.killpg(watching.pid, signal.SIGKILL)
    print((tmp_path / "watch.txt").read_text())
    run("upgrade", shell, values)
    run("uninstall", shell, values)

    left = cluster.kubectl("get", "clusterroles,clusterrolebindings,crds,namespaces", "-o", "name")
    assert "rlvr" not in left
