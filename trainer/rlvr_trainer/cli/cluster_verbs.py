"""What the verbs for clusters do: ask, and print.  Exit codes as in `main`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import yaml

from rlvr_api.contract import GROUP, SINGULAR
from rlvr_trainer.cli.manifest import Manifest, read_manifest
from rlvr_trainer.cluster.following import follow
from rlvr_trainer.cluster.jobs import Jobs
from rlvr_trainer.cluster.pods import container_of, role_pod
from rlvr_trainer.cluster.refusals import NotFound, NotPermitted, RefusedJob
from rlvr_trainer.cluster.requests import Object
from rlvr_trainer.cluster.server import connect
from rlvr_trainer.cluster.views import FINISHED, phase_of, status_text, table_text
from rlvr_trainer.errors import InvalidInput

_KIND: Final = f"{SINGULAR}.{GROUP}"
_LOOK_AGAIN_SECONDS: Final = 0.5


def submit(options: argparse.Namespace) -> int:
    manifest = read_manifest(options.job, settings=options.settings)
    written = manifest.document.value
    jobs = _jobs(options, default=_namespace_in(manifest, options))
    try:
        job, outcome = jobs.submit(written)
    except RefusedJob as refused:
        raise _located(refused, manifest, options) from refused
    if options.output:
        return _print(job, options.output)
    name = job["metadata"]["name"]
    _say(f"{_KIND}/{name} {outcome}")
    if job["spec"].get("suspend"):
        _say(f"It is suspended: start it with `rlvr resume {name}{_flags(options, jobs)}`.")
    elif outcome == "created":
        _say(f"Follow it with `rlvr watch {name}{_flags(options, jobs)}`.")
    return 0


def list_jobs(options: argparse.Namespace) -> int:
    jobs, everywhere = _jobs(options), options.all_namespaces
    if options.output in {"name", "json", "yaml"}:
        return _print(jobs.listing(everywhere=everywhere), options.output)
    text = table_text(jobs.table(everywhere=everywhere), wide=options.output == "wide", everywhere=everywhere)
    if text:
        _say(text)
    else:
        sys.stderr.write(f"No jobs in {'any namespace' if everywhere else f'namespace {jobs.namespace}'}.\n")
    return 0


def status(options: argparse.Namespace) -> int:
    jobs = _jobs(options)
    job = jobs.get(options.job)
    if options.output:
        return _print(job, options.output)
    try:
        events = jobs.events(job)
    except NotPermitted:
        events = None
    _say(status_text(job, events, time.time()))
    return 0


def watch(options: argparse.Namespace) -> int:
    jobs = _jobs(options)
    for line in follow(jobs, options.job, pause=time.sleep):
        _say(f"{time.strftime('%H:%M:%S')}  {line}")
    try:
        return 0 if phase_of(jobs.get(options.job)) == "Succeeded" else 1
    except NotFound:
        return 1


def logs(options: argparse.Namespace) -> int:
    jobs = _jobs(options)
    jobs.get(options.job)
    pod = role_pod(jobs.pods(options.job), job=options.job, role=options.role, index=options.index)
    container = container_of(pod, role=options.role, wanted=options.container)
    name = pod["metadata"]["name"]
    _say_all(jobs.log(name, container, follow=options.follow, previous=options.previous))
    return 0


def suspend(options: argparse.Namespace) -> int:
    jobs = _jobs(options)
    _refuse_finished(jobs.get(options.job), "suspend")
    is_news = jobs.suspend(options.job, wanted=True)
    _say(f"{_KIND}/{options.job} {'suspending: it saves a checkpoint first' if is_news else 'is suspended already'}")
    return 0


def resume(options: argparse.Namespace) -> int:
    jobs = _jobs(options)
    _refuse_finished(jobs.get(options.job), "resume")
    is_news = jobs.suspend(options.job, wanted=False)
    _say(f"{_KIND}/{options.job} {'resumed' if is_news else 'is not suspended'}")
    return 0


def delete(options: argparse.Namespace) -> int:
    jobs = _jobs(options)
    uid = jobs.delete(options.job)["metadata"]["uid"]
    if options.no_wait:
        _say(f"{_KIND}/{options.job} is being deleted")
        return 0
    is_told = False
    while jobs.is_there(options.job, uid=uid):
        if not is_told:
            sys.stderr.write("Waiting for its last checkpoint and its pods; Ctrl-C stops waiting, not the deletion.\n")
        is_told = True
        time.sleep(_LOOK_AGAIN_SECONDS)
    _say(f"{_KIND}/{options.job} deleted")
    return 0


VERBS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "submit": submit,
    "list": list_jobs,
    "status": status,
    "watch": watch,
    "logs": logs,
    "suspend": suspend,
    "resume": resume,
    "delete": delete,
}


def _jobs(options: argparse.Namespace, *, default: str | None = None) -> Jobs:
    server = connect(kubeconfig=options.kubeconfig, context=options.context)
    return Jobs(server, namespace=options.namespace or default or server.namespace)


def _namespace_in(manifest: Manifest, options: argparse.Namespace) -> str | None:
    """What the manifest says, unless -n contradicts it."""
    written: str | None = manifest.document.value["metadata"].get("namespace")
    if written and options.namespace and written != options.namespace:
        raise InvalidInput(
            f"{options.job}: metadata.namespace is {written!r}, but -n says {options.namespace!r}: drop one of the two."
        )
    return written


def _located(refused: RefusedJob, manifest: Manifest, options: argparse.Namespace) -> InvalidInput:
    """The refusal with the lines of the file, and in their order."""
    count = "1 problem" if len(refused.problems) == 1 else f"{len(refused.problems)} problems"
    found = [(manifest.line_of(field) or 0, f"{field}: {said}.") for field, said in refused.problems.items()]
    problems = (f"  {f'line {line}: ' if line else ''}{problem}" for line, problem in sorted(found))
    return InvalidInput("\n".join([f"{options.job} is refused by the API server: {count}", *problems]))


def _refuse_finished(job: Object, verb: str) -> None:
    phase = phase_of(job)
    if phase in FINISHED or phase == "Deleting":
        word = "is being deleted" if phase == "Deleting" else f"has {phase.lower()}"
        raise InvalidInput(f"job {job['metadata']['name']!r} {word}, so there is nothing to {verb}.")


def _flags(options: argparse.Namespace, jobs: Jobs) -> str:
    """What must be added to a command for it to find the same job."""
    named = [f"-n {jobs.namespace}"] if options.namespace or jobs.namespace != "default" else []
    named += [f"--context {options.context}"] if options.context else []
    named += [f"--kubeconfig {options.kubeconfig}"] if options.kubeconfig else []
    return "".join(f" {flag}" for flag in named)


def _print(found: Object, form: str) -> int:
    """An object or a list of them, without the bookkeeping that kubectl hides too."""
    items: list[dict[str, Any]] = found.get("items", [found])
    for item in items:
        item["metadata"].pop("managedFields", None)
    if form == "name":
        _say_all(f"{_KIND}/{item['metadata']['name']}" for item in items)
    elif form == "json":
        _say(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _say(yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip("\n"))
    return 0


def _say(text: str) -> None:
    _say_all([text])


def _say_all(lines: Iterable[str]) -> None:
    """Print at once; whoever reads may stop reading at any line, as `head` does."""
    try:
        for line in lines:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
