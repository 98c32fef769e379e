"""Manifests of everything a job is made of.  Pure: the same job and kit give the same bytes.

`children` are server-side applied and carry a hash of their own content; a `pod` is created once and never changed.
Pods beside the gang (`is_in_gang`) are created when the gang has its nodes: sooner they would take them away from it.

Ask `conflicts` first: a job that has some is invalid.  `gang_problem` says what the cluster lacks: such a job waits.
`gang_remains` are deleted once no pod of the job is to run any more but some are still there, ended.
"""

from rlvr_operator.workloads.build import children, gang_problem, gang_remains, pod
from rlvr_operator.workloads.conflicts import conflicts
from rlvr_operator.workloads.gangs import GANG_APIS, is_in_gang
from rlvr_operator.workloads.gangs.base import POD_GROUP
from rlvr_operator.workloads.kit import Kit, Member
from rlvr_operator.workloads.names import FAILURES, HASH, child_key, host_of, minimum_rollouts, name_of

__all__ = [
    "FAILURES",
    "GANG_APIS",
    "HASH",
    "POD_GROUP",
    "Kit",
    "Member",
    "child_key",
    "children",
    "conflicts",
    "gang_problem",
    "gang_remains",
    "host_of",
    "is_in_gang",
    "minimum_rollouts",
    "name_of",
    "pod",
]
