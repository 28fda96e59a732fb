"""The command `medfusion`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

QUICKSTART = "01-quickstart.ipynb"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="medfusion", description="Train models that fuse medical images with clinical data, in a notebook."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    lab = commands.add_parser("lab", help="open JupyterLab on the quickstart notebook")
    lab.add_argument("folder", nargs="?", default=".", help="the folder to open (default: this one)")
    lab.add_argument("jupyter", nargs=argparse.REMAINDER, help="further arguments for jupyter lab")
    lab.set_defaults(run=_lab)
    demo = commands.add_parser("demo", help="train on a synthetic cohort in the terminal")
    demo.add_argument("--rows", type=int, default=2000, help="patients of the cohort (default: 2000)")
    demo.add_argument("--epochs", type=int, default=12, help="passes over the training part (default: 12)")
    demo.set_defaults(run=_demo)
    jobs = commands.add_parser("jobs", help="list the training jobs of the store, newest first")
    jobs.add_argument("--status", help="only those in this state, such as running or interrupted")
    jobs.add_argument("--limit", type=int, default=20, help="at most so many (default: 20)")
    jobs.set_defaults(run=_jobs)
    worker = commands.add_parser(
        "worker", help="train what is queued, without a Jupyter server, until it is interrupted"
    )
    worker.add_argument("--jobs-at-once", type=int, default=0, help="at most so many (default: one a GPU, or one)")
    worker.set_defaults(run=_worker)
    _add_steering_commands(commands)
    _add_database_commands(commands)
    arguments = parser.parse_args(argv)
    run = arguments.run
    try:
        status: int = run(arguments)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for the interpreter's last flush)
        return 0
    return status


def _add_steering_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from medfusion_jupyter.steering import WHAT_THEY_DO

    status = commands.add_parser("status", help="print one line on a job")
    status.add_argument("job", help="its id, such as job_0012")
    status.set_defaults(run=_status)
    for name, what_it_does in WHAT_THEY_DO.items():
        command = commands.add_parser(name, help=what_it_does)
        command.add_argument("job", help="its id, such as job_0012")
        if name == "set":
            command.add_argument("changes", nargs="+", metavar="name=value", help="a setting and its new value")
        command.set_defaults(run=_steer, changes=())
    fork = commands.add_parser(
        "fork", help="queue a new job that begins from a checkpoint of this one, with other settings"
    )
    fork.add_argument("job", help="its id, such as job_0012")
    fork.add_argument(
        "--checkpoint",
        default="",
        metavar="epoch=5",
        help="the one after that epoch, or step=120; by default the newest",
    )
    fork.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="name=value", help="settings that differ"
    )
    fork.add_argument("--name", help="what it is called (default: as its parent)")
    fork.add_argument("--priority", type=int, default=0, help="the highest of the queue is trained first (default: 0)")
    fork.set_defaults(run=_fork)


def _add_database_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    database = commands.add_parser("db", help="save, restore and migrate the database")
    actions = database.add_subparsers(dest="action", required=True)
    actions.add_parser("current", help="show the schema that the database is at, and this version's own")
    actions.add_parser("upgrade", help="bring the database to this version's schema; its rows are saved before")
    downgrade = actions.add_parser(
        "downgrade", help="take the database back to an older schema; its rows are saved before"
    )
    downgrade.add_argument("revision", help="the schema's revision, or `base` for none")
    backup = actions.add_parser("backup", help="save all rows and files to one file, while others work on")
    backup.add_argument("file", help="the file to write, such as medfusion.tar; none is written over")
    restore = actions.add_parser("restore", help="bring a backup back into an empty MEDFUSION_HOME and database")
    restore.add_argument("file", help="the file that `medfusion db backup` wrote")
    database.set_defaults(run=_db)


def _db(arguments: argparse.Namespace) -> int:
    from medfusion_jupyter.db_commands import run

    return run(arguments)


def _lab(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.folder).resolve()
    if not folder.is_dir():
        print(f"medfusion lab: {folder} is not a folder.", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "jupyterlab", "--notebook-dir", str(folder)]
    if (folder / QUICKSTART).exists():
        command += ["--LabApp.default_url", f"/lab/tree/{QUICKSTART}"]
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        command += ["--no-browser"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command += ["--allow-root"]
    os.execv(sys.executable, [*command, *arguments.jupyter])
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    import logging

    from medfusion_jupyter.server.worker import Worker
    from medfusion_jupyter.store import home, open_store

    if arguments.jobs_at_once < 0:
        print("medfusion worker: --jobs-at-once is 1 or more, or 0 for one a GPU.", file=sys.stderr)
        return 2
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("medfusion").setLevel(logging.INFO)
    logging.getLogger("medfusion").info("Works off the queue of %s; Ctrl-C stops its jobs and ends it.", home())
    Worker(open_store(), arguments.jobs_at_once).run()
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from medfusion_jupyter.steering import in_one_line
    from medfusion_jupyter.store import StoreError, open_store

    try:
        print(in_one_line(open_store().jobs.get(arguments.job)))
    except StoreError as refused:
        print(f"medfusion status: {refused}", file=sys.stderr)
        return 1
    return 0


def _steer(arguments: argparse.Namespace) -> int:
    from medfusion_jupyter.steering import ask
    from medfusion_jupyter.store import FINISHED, StoreError, open_store

    command, job_id = arguments.command, arguments.job
    try:
        if command == "resume" and open_store().jobs.get(job_id).status in FINISHED:
            open_store().queue.add(job_id)
            print(
                f"{job_id} is queued: a Jupyter server of this MEDFUSION_HOME, or `medfusion worker`, goes on with it."
            )
        else:
            print(ask(job_id, command, arguments.changes))
    except (StoreError, ValueError) as refused:
        print(f"medfusion {command}: {refused}", file=sys.stderr)
        return 1
    return 0


def _fork(arguments: argparse.Namespace) -> int:
    from medfusion_jupyter.server.queued_fork import queue_fork
    from medfusion_jupyter.settings.keywords import read_keywords
    from medfusion_jupyter.steering import read_fork
    from medfusion_jupyter.store import StoreError, open_store

    chosen = arguments.checkpoint
    if chosen and chosen.partition("=")[0] not in ("epoch", "step"):
        print(f"medfusion fork: --checkpoint {chosen} is none: give epoch=5 or step=120.", file=sys.stderr)
        return 2
    try:
        made = queue_fork(
            open_store(),
            arguments.job,
            **read_fork(chosen.split(",") if chosen else []),
            changes=read_keywords(arguments.set),
            name=arguments.name,
            priority=arguments.priority,
        )
    except (StoreError, ValueError) as refused:
        print(f"medfusion fork: {refused}", file=sys.stderr)
        return 1
    began = f"epoch {made.fork['epoch']}, step {made.fork['step']}" if made.fork else ""
    print(
        f"{made.job_id} is queued, from {began} of {arguments.job}: a Jupyter server of this MEDFUSION_HOME, or "
        "`medfusion worker`, trains it."
    )
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from medfusion_jupyter.demo import demo

    demo(rows=arguments.rows, epochs=arguments.epochs)
    return 0


def _jobs(arguments: argparse.Namespace) -> int:
    from medfusion_jupyter.store import JobStatus, open_store

    known = [str(status) for status in JobStatus]
    if arguments.status is not None and arguments.status not in known:
        print(f"medfusion jobs: no status {arguments.status!r}; choose one of {', '.join(known)}.", file=sys.stderr)
        return 2
    jobs = open_store().jobs.list(status=arguments.status, limit=arguments.limit).items
    if not jobs:
        print("No jobs.")
        return 0
    print(f"{'job':<10} {'status':<13} {'epoch':>9}  {'best':>22}  name")
    for job in jobs:
        best = "" if job.best_value is None else f"{job.watched_metric} {job.best_value:.3f}"
        epoch = f"{job.current_epoch}/{job.total_epochs}"
        print(f"{job.job_id:<10} {job.status:<13} {epoch:>9}  {best:>22}  {job.name}")
    return 0
