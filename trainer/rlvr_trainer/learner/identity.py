"""Which job and which run a checkpoint belongs to.  Pure.

What makes a run another run: model, adapters, algorithm, training prompts and their template, seed.  What may change
between two attempts of one run: everything else, such as replicas, steps, learning rate or where checkpoints are kept.
"""

from __future__ import annotations

import hashlib
import json

from rlvr_api import RLVRJobSpec
from rlvr_api.recipe import resolve
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.storage.checkpoints import Manifest


def job_digest(spec: RLVRJobSpec) -> str:
    """SHA-256 of what makes this job this job; the same for a default that is written out and one that is not."""
    lora = spec.training.lora
    identity = {
        "model": spec.model.model_dump(mode="json"),
        "algorithm": resolve(spec.algorithm).model_dump(mode="json", exclude={"sources", "preset"}),
        "data": spec.data.train.model_dump(mode="json"),
        "seed": spec.training.seed,
        **({} if lora is None else {"lora": lora.model_dump(mode="json")}),  # absent: as jobs without it ever were
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def accept_own(manifest: Manifest, *, run: str) -> bool:
    """True for a checkpoint of this run; InvalidInput for any other: `never` wants a place of its own."""
    if run and manifest.run == run:
        return True
    raise InvalidInput(
        f"checkpoint.resume is never, but a checkpoint of step {manifest.step} from another run is at checkpoint.uri: "
        "two runs in one place would mix, and auto would later take the wrong one. Set checkpoint.uri to its own "
        "place, remove what is there, or set checkpoint.resume to auto to go on from it."
    )


def accept(manifest: Manifest, *, digest: str) -> bool:
    """True for a checkpoint of this job; InvalidInput for one of another: two jobs must not share a place."""
    if manifest.job_digest == digest:
        return True
    raise InvalidInput(
        f"the checkpoint of step {manifest.step} belongs to job {manifest.job_digest[:12]}, this is job {digest[:12]}: "
        "its model, algorithm, data.train, training.seed or training.lora is another. Set checkpoint.uri to a place of "
        "its own, or remove what is there."
    )
