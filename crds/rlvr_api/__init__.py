"""Types of RLVRJob, the one manifest that operator, trainer and laptop read.  Needs pydantic only."""

from rlvr_api.algorithm import AlgorithmSpec
from rlvr_api.checkpoint import CheckpointSpec
from rlvr_api.data import DataSource, DataSpec, EvalData, Template, TrainData
from rlvr_api.job import Metadata, RLVRJob
from rlvr_api.learner import LearnerSpec
from rlvr_api.limits import LimitsSpec
from rlvr_api.model import ModelSpec
from rlvr_api.progress import CheckpointProgress, Progress
from rlvr_api.reward import RewardSpec, VerifierSpec
from rlvr_api.rollout import RolloutSpec, SamplingSpec
from rlvr_api.scheduling import SchedulingSpec
from rlvr_api.spec import RLVRJobSpec
from rlvr_api.status import Condition, RLVRJobStatus
from rlvr_api.training import LoraSpec, OptimizerSpec, TrainingSpec

__all__ = [
    "AlgorithmSpec",
    "CheckpointProgress",
    "CheckpointSpec",
    "Condition",
    "DataSource",
    "DataSpec",
    "EvalData",
    "LearnerSpec",
    "LimitsSpec",
    "LoraSpec",
    "Metadata",
    "ModelSpec",
    "OptimizerSpec",
    "Progress",
    "RLVRJob",
    "RLVRJobSpec",
    "RLVRJobStatus",
    "RewardSpec",
    "RolloutSpec",
    "SamplingSpec",
    "SchedulingSpec",
    "Template",
    "TrainData",
    "TrainingSpec",
    "VerifierSpec",
]
