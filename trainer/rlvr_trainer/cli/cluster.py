"""The options of `rlvr submit | list | status | watch | logs | suspend | resume | delete`; `cluster_verbs` acts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, Protocol

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it
_SUBMIT: Final = """\
Check a manifest and hand it to a cluster; the same file again changes the job.

Whether models and data are where the pods look for them only the cluster can tell: see `rlvr status`."""
_LIST: Final = "List jobs with the columns of `kubectl get rlvr`."
_STATUS: Final = """\
Say where a job is and, in one sentence, why it does not go on: roles, step, reward, checkpoint, conditions
and the newest events."""
_WATCH: Final = """\
Print a line for each change of a job, until it is finished, or of all jobs, until Ctrl-C.

Lives on when the API server is away.  Exit code 1 when the job failed or was deleted."""
_LOGS: Final = "Print the log of one container, of the newest incarnation of its pod."
_SUSPEND: Final = "Save a checkpoint, then give up all pods; the job keeps its place and `rlvr resume` continues it."
_RESUME: Final = "Continue a suspended job from its newest checkpoint."
_DELETE: Final = """\
Delete a job.  Its last checkpoint is saved first; what is stored stays.

Waits until the job is gone.  Ctrl-C stops waiting, not the deletion."""


class WithManifest(Protocol):
    """Adds a subcommand that takes a manifest and `--set`."""

    def __call__(
        self, commands: Commands[argparse.ArgumentParser], name: str, help_: str, description: str
    ) -> argparse.ArgumentParser: ...


def declare(commands: Commands[argparse.ArgumentParser], with_manifest: WithManifest) -> None:
    """Add the subcommands for clusters."""
    submit = with_manifest(commands, "submit", "hand a job to a cluster", _SUBMIT)
    _add_place(submit, "submit")
    _add_output(submit, "name", "json", "yaml")

    listing = _verb(commands, "list", "list the jobs of a cluster", _LIST)
    listing.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    _add_output(listing, "wide", "name", "json", "yaml")

    _add_output(_job_verb(commands, "status", "say where a job is, and why", _STATUS), "json", "yaml")

    watch = _verb(commands, "watch", "print a line for each change", _WATCH)
    watch.add_argument("job", nargs="?", metavar="JOB", help="name of one job (default: all of the namespace)")

    _declare_logs(commands)
    _job_verb(commands, "suspend", "save a checkpoint and give up all pods", _SUSPEND)
    _job_verb(commands, "resume", "continue a suspended job", _RESUME)
    delete = _job_verb(commands, "delete", "delete a job", _DELETE)
    delete.add_argument("--no-wait", action="store_true", help="return at once")


def _declare_logs(commands: Commands[argparse.ArgumentParser]) -> None:
    logs = _job_verb(commands, "logs", "print a log", _LOGS)
    roles = ("learner", "rollout", "reward", "coordinator")
    logs.add_argument("--role", choices=roles, default="learner", help="whose (default: learner)")
    logs.add_argument("--index", type=int, default=0, metavar="N", help="which pod of the role (default: 0)")
    logs.add_argument("-c", "--container", metavar="NAME", help="another container of that pod, such as engine")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the container ends")
    logs.add_argument("-p", "--previous", action="store_true", help="of the container's life before this one")


def _job_verb(
    commands: Commands[argparse.ArgumentParser], name: str, help_: str, description: str
) -> argparse.ArgumentParser:
    command = _verb(commands, name, help_, description)
    command.add_argument("job", metavar="JOB", help="name of the job")
    return command


def _verb(
    commands: Commands[argparse.ArgumentParser], name: str, help_: str, description: str
) -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help_, description=description, formatter_class=formatter
    )
    _add_place(command, name)
    return command


def _add_place(command: argparse.ArgumentParser, name: str) -> None:
    place = command.add_argument_group("cluster")
    place.add_argument("-n", "--namespace", metavar="NAME", help="namespace (default: the context's)")
    place.add_argument("--context", metavar="NAME", help="context of the kubeconfig (default: the current one)")
    place.add_argument("--kubeconfig", metavar="FILE", help="default: KUBECONFIG, then ~/.kube/config")
    command.set_defaults(action=_lazy(name))


def _add_output(command: argparse.ArgumentParser, *formats: str) -> None:
    command.add_argument("-o", "--output", choices=formats, metavar="|".join(formats), help="another form of output")


def _lazy(name: str) -> Callable[[argparse.Namespace], int]:
    def act(options: argparse.Namespace) -> int:
        from rlvr_trainer.cli.cluster_verbs import VERBS  # noqa: PLC0415 - the Kubernetes client

        return VERBS[name](options)

    return act
