"""Which job a checkpoint belongs to.  Pure.

What makes a run another run: model, algorithm, training prompts and their template, seed.  What may change between two
attempts of one run: everything else, such as replicas, steps, learning rate or where checkpoints are kept.
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
    identity = {
        "model": spec.model.model_dump(mode="json"),
        "algorithm": resolve(spec.algorithm).model_dump(mode="json", exclude={"sources", "preset"}),
        "data": spec.data.train.model_dump(mode="json"),
        "seed": spec.training.seed,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def accept(manifest: Manifest, *, digest: str) -> bool:
    """True for a checkpoint of this job; InvalidInput for one of another: two jobs must not share a place."""
    if manifest.job_digest == digest:
        return True
    raise InvalidInput(
        f"the checkpoint of step {manifest.step} belongs to job {manifest.job_digest[:12]}, this is job {digest[:12]}: "
        "its model, algorithm, data.train or training.seed is another. Set checkpoint.uri to a place of its own, or "
        "checkpoint.resume to never to start from the base model and overwrite."
    )
