"""Eight processes at work on one database: nothing is lost, nothing is done twice, nobody is turned away."""

import subprocess
import sys
import textwrap
from collections import Counter
from contextlib import suppress
from itertools import pairwise

from sqlalchemy import func, select

from medfusion_jupyter.store.tables import MetricRow

PROCESSES = 8
ENDS = ["completed", "failed", "stopped", "completed"]
MOVES = ["initializing", "running", *["paused", "running"] * 23, "paused"]
"""And then one of ENDS: with four jobs each process makes 200 moves."""
SAMPLES = 50
"""Before each move: 10,000 samples a process."""

MEMBER = textwrap.dedent(
    f"""
    import sys, uuid
    from medfusion_jupyter.store import open_store
    store, name = open_store(), sys.argv[1]
    print("ready", flush=True)
    sys.stdin.readline()
    for end in {ENDS}:
        job = store.jobs.create(name, model_config={{}}, data_config={{}}, training_config={{}}, total_epochs=1,
                                watched_metric="val/loss", description=end)
        token = uuid.uuid4().hex
        store.jobs.claim(job.job_id, run_token=token, host="host", pid=1, process_started=0.0, kernel_id=None)
        step = 0
        for status in {MOVES} + [end]:
            for _ in range({SAMPLES}):
                step += 1
                store.writer.append(job.pk, "loss", step, float(step))
            store.jobs.update_status(job.job_id, status, run_token=token)
    store.close()
    """
)


def test_eight_processes_lose_no_sample_and_no_move_and_a_follower_of_the_feed_sees_each(store):
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, f"member {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    assert [member.stdout.readline() for member in members] == ["ready\n"] * PROCESSES
    for member in members:
        member.stdin.write("go\n")
        member.stdin.flush()

    seen, working = [], members
    while working:
        working = [member for member in working if not _has_ended(member)]
        while more := store.events.list(seen[-1].id if seen else 0):
            seen += more
    assert [member.communicate()[1] for member in members] == [""] * PROCESSES
    assert [member.returncode for member in members] == [0] * PROCESSES

    assert seen == _all_events(store)
    moves = {}
    for event in seen:
        if event.kind == "status":
            moves.setdefault(event.entity_id, []).append((event.data["from"], event.data["to"]))
    jobs = store.jobs.list(limit=500).items
    assert Counter((job.name, job.status) for job in jobs) == Counter(
        (f"member {number}", end) for number in range(PROCESSES) for end in ENDS
    )
    for job in jobs:
        way = ["pending", *MOVES, job.description]
        assert job.status == job.description
        assert moves[job.job_id] == list(pairwise(way))
    assert sum(map(len, moves.values())) == PROCESSES * 200

    samples = SAMPLES * (len(MOVES) + 1)
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(MetricRow)) == PROCESSES * 10_000
    for job in jobs:
        series = store.metrics.series(job.job_id, "loss")
        assert series.steps == series.values == list(range(1, samples + 1))


def _has_ended(member):
    with suppress(subprocess.TimeoutExpired):
        member.wait(0.02)
    return member.returncode is not None


def _all_events(store):
    events = []
    while more := store.events.list(events[-1].id if events else 0):
        events += more
    return events
