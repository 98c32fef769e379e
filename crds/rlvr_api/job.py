"""The envelope: what Kubernetes wants around a spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from rlvr_api.base import Model
from rlvr_api.contract import MAX_NAME_LENGTH, NAME_PATTERN
from rlvr_api.spec import RLVRJobSpec
from rlvr_api.status import RLVRJobStatus

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME_LENGTH)]


class Metadata(Model):
    """The part of ObjectMeta that we read; the rest is the API server's business."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    """At most 40 characters: pod names are made from it."""
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class RLVRJob(Model):
    """Reinforcement learning with verifiable rewards: one job, one model."""

    api_version: Literal["rlvr.dev/v1alpha1"]
    kind: Literal["RLVRJob"]
    metadata: Metadata
    spec: RLVRJobSpec
    """What is wanted."""
    status: RLVRJobStatus | None = None
    """What is."""
