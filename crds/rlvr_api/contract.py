"""What operator, trainer and tools agree on without asking: labels, ports, paths, exit codes."""

from __future__ import annotations

from typing import Final

GROUP: Final = "rlvr.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "RLVRJob"
PLURAL: Final = "rlvrjobs"
SINGULAR: Final = "rlvrjob"
SHORT_NAME: Final = "rlvr"

LABEL_JOB: Final = f"{GROUP}/job"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_INDEX: Final = f"{GROUP}/index"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
LABEL_MANAGED: Final = f"{GROUP}/managed"
FINALIZER: Final = f"{GROUP}/last-checkpoint"
ANNOTATION_SKIP_LAST_CHECKPOINT: Final = f"{GROUP}/skip-last-checkpoint"
"""On a job that is being deleted: do not wait for the learner to save."""
ANNOTATION_NEVER_FORCE: Final = f"{GROUP}/never-force-delete"
"""On a job: leave pods that are stuck on a lost node to the cluster's administrator."""

PORT_COORDINATOR: Final = 8470
PORT_AGENT: Final = 8471
PORT_REWARD: Final = 8472
PORT_LEARNER: Final = 8473
PORT_ENGINE: Final = 8000
"""Loopback of the rollout pod only: engines have no authentication."""

JOB_FILE: Final = "/etc/rlvr/job.json"
TOKEN_FILE: Final = "/var/run/secrets/rlvr.dev/token"  # noqa: S105 - a path, not a secret
LAST_WORDS_FILE: Final = "/dev/termination-log"
"""Where the kubelet looks for what a container says at its end; it reads 4 KiB."""
WORK_FOLDER: Final = "/var/lib/rlvr"

DEFAULT_MANAGER: Final = "rlvr.dev/operator"
"""Value of spec.managedBy that our own operator acts on."""
NAME_PATTERN: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_MEANING: Final = "must begin with a letter and hold only a-z, 0-9 and -"
MAX_NAME_LENGTH: Final = 40
"""Leaves room for `-coordinator-0-a999` within a DNS label."""

EXIT_DONE: Final = 0
EXIT_INVALID: Final = 64
"""The job, its data or its model cannot work; repeating the attempt would not help."""
EXIT_CORRUPT_CHECKPOINT: Final = 65
"""A checkpoint changed under our hands; the next attempt falls back to an older one."""
EXIT_INTERRUPTED: Final = 75
"""Asked to stop; a checkpoint was saved first.  Does not count as a failure."""
EXIT_STOPPED: Final = 143
"""Asked to stop, with nothing to save.  Not 0: a gang scheduler takes a pod that ended with 0 for one that is done."""
EXITS_NEVER_RETRIED: Final = frozenset({EXIT_INVALID})
"""Every other code but 0 is a failure worth another attempt."""
