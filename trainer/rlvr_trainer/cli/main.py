"""`rlvr run | validate | explain JOB.yaml`, and the verbs for clusters (`cluster`).

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 64 the job, its data or its model cannot work, 130 stopped.
What is heavy is imported by the subcommand that needs it, so that `rlvr --help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from rlvr_trainer.cli import cluster
from rlvr_trainer.errors import InvalidInput, TrainerError

_EXIT_FAILED: Final = 1
_EXIT_STOPPED: Final = 130
_RUN: Final = """\
Start every role of a job as a process of this machine and train to the last step.

Everything that can be checked is checked first.  Run the same command again to resume: learner and
coordinator go on from the newest checkpoint, and no prompt is trained twice.  Ctrl-C saves a checkpoint
and stops; a second Ctrl-C kills everything at once.

The folder of the run holds logs/, checkpoints/, result.json and report.html."""
_VALIDATE: Final = """\
Check a manifest, its model and its data, and report everything that is wrong at once: the field, its
value, the rule, and the way out.  Starts nothing.

A job for a cluster (rollout.engine: vllm) is valid as a manifest also where its model is not; what only
the cluster can tell is listed."""
_EXPLAIN: Final = """\
Print every number of the job with its source: the manifest, the preset (with the paper it comes from) or
a default; and what one step amounts to.  Starts nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; `arguments` default to those of the process."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.action(options)
    except TrainerError as error:
        _complain(error)
        return _exit_invalid() if isinstance(error, InvalidInput) else _EXIT_FAILED
    except KeyboardInterrupt:
        return _EXIT_STOPPED
    return code


def run(options: argparse.Namespace) -> int:
    from rlvr_trainer.cli.manifest import load_manifest  # noqa: PLC0415 - pydantic
    from rlvr_trainer.one_machine.run import run_job  # noqa: PLC0415 - two seconds of imports

    job = load_manifest(options.job, settings=options.settings)
    directory = options.dir or Path("runs") / job.metadata.name
    return run_job(job, directory=directory, plain=options.plain)


def validate(options: argparse.Namespace) -> int:
    from rlvr_trainer.cli.manifest import load_manifest  # noqa: PLC0415 - pydantic
    from rlvr_trainer.one_machine.checks import check_elsewhere, check_job  # noqa: PLC0415 - data sources and tokenizers

    job = load_manifest(options.job, settings=options.settings)
    if job.spec.rollout.engine == "local":
        check_job(job)
        sys.stdout.write(f"{options.job}: valid\n")
        return 0
    open_questions = check_elsewhere(job)
    sys.stdout.write(f"{options.job}: valid{' as a manifest; not known here:' if open_questions else ''}\n")
    sys.stdout.writelines(f"  {question}\n" for question in open_questions)
    return 0


def explain(options: argparse.Namespace) -> int:
    from rlvr_trainer.cli.explain import explain as explained  # noqa: PLC0415 - pydantic
    from rlvr_trainer.cli.manifest import read_manifest  # noqa: PLC0415 - pydantic

    manifest = read_manifest(options.job, settings=options.settings)
    sys.stdout.write(f"{explained(manifest.job, line_of=manifest.line_of)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlvr", description="Reinforcement learning with verifiable rewards.")
    parser.add_argument("--version", action="version", version=f"rlvr {metadata.version('rlvr-operator')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    running = _command(commands, "run", "train a job on this machine", _RUN)
    running.set_defaults(action=run)
    running.add_argument("--dir", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME)")
    running.add_argument(
        "--engine",
        action="append",
        dest="settings",
        type="spec.rollout.engine={}".format,
        metavar="ENGINE",
        help="local or vllm: short for --set spec.rollout.engine=ENGINE",
    )
    running.add_argument("--plain", action="store_true", help="lines of text, also on a terminal")

    _command(commands, "validate", "check a manifest, its model and its data", _VALIDATE).set_defaults(action=validate)
    _command(commands, "explain", "print the resolved recipe with its sources", _EXPLAIN).set_defaults(action=explain)
    cluster.declare(commands, _command)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help_: str, description: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=help_, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("job", type=Path, metavar="JOB.yaml", help="manifest of an RLVRJob")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="spec.FIELD=VALUE",
        help="put a value into the manifest first; may be repeated",
    )
    return command


def _complain(error: TrainerError) -> None:
    """Each problem on a line of its own; indented lines belong to the one before."""
    for line in str(error).splitlines():
        sys.stderr.write(f"{line}\n" if line.startswith(" ") else f"error: {line}\n")


def _exit_invalid() -> int:
    from rlvr_api import contract  # noqa: PLC0415 - pydantic

    return contract.EXIT_INVALID


if __name__ == "__main__":
    sys.exit(main())
