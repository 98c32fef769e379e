"""What `examples/arithmetic-cpu.yaml` becomes in a cluster, to be read and compared.

PYTHONPATH=tests .venv/bin/python -m golden.workloads.render      # after a change that is meant
"""

import json
from pathlib import Path
from typing import Any

import yaml

from rlvr_api import RLVRJob
from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads import children
from workload_builders import KIT, UID, all_pods

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[2] / "examples" / "arithmetic-cpu.yaml"
GOLDEN = HERE / "arithmetic-cpu.yaml"


class _Plain(yaml.SafeDumper):
    """No anchors, and list items indented: as people write it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as above
        super().increase_indent(flow, False)


def rendered() -> str:
    job = RLVRJob.model_validate_json(json.dumps(yaml.safe_load(EXAMPLE.read_text())))
    seen = JobSeen(namespace="research", name=job.metadata.name, uid=UID, generation=1, created_at=0.0, spec=job.spec)
    manifests = [*children(seen, KIT), *all_pods(seen)]
    return yaml.dump_all(manifests, Dumper=_Plain, sort_keys=False, width=120)


if __name__ == "__main__":
    GOLDEN.write_text(rendered())
