"""How long a run takes to obey a command: from the call in another process, or in its own, to the end of the step that hears it.

Asked for: at the next step, and at most 0.5 s from another process. The run is the tiny table model (steps of about 1 ms), so the
figures are those of the way of a command through the store, not of a step.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from rounds import environment

ROUNDS = 12
ASKER = """
import json, sys, time
from medfusion_jupyter.store import open_store

store = open_store()
store.jobs.get(sys.argv[1])
for line in sys.stdin:
    command, arguments = json.loads(line)
    began = time.time()
    store.jobs.request(sys.argv[1], command, arguments)
    print(began, flush=True)
"""


class Heard:
    """Notes when the run hears."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def paused(self, state: object) -> None:
        self.at["pause"] = time.time()

    def resumed(self, state: object) -> None:
        self.at["resume"] = time.time()

    def changed(self, state: object) -> None:
        self.at["set"] = time.time()

    def checkpoint_wanted(self, state: object) -> None:
        self.at["checkpoint"] = time.time()


def main() -> None:
    import medfusion as mf
    from medfusion_jupyter.store import open_store

    cohort = mf.synthetic_cohort(400, seed=0, image_size=16)
    heard = Heard()
    job = mf.train(cohort, image_encoder=None, device="cpu", epochs=100_000, patience=None, callbacks=[heard])
    while job.status != "running":
        time.sleep(0.05)
    asker = subprocess.Popen(
        [sys.executable, "-c", ASKER, job.job_id], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def from_another(command: str, arguments: dict[str, float] | None) -> float:
        asker.stdin.write(json.dumps([command, arguments]) + "\n")
        asker.stdin.flush()
        return float(asker.stdout.readline())

    def from_here(command: str, arguments: dict[str, float] | None) -> float:
        began = time.time()
        open_store().jobs.request(job.job_id, command, arguments)
        open_store().writer.wake()
        return began

    print("| command | from another process, s: median (longest) | from its own process |")
    print("| --- | --- | --- |")
    for command, arguments in (("set", {"lr": 1e-4}), ("checkpoint", None), ("pause", None)):
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for where, ask in (("another", from_another), ("here", from_here)):
                # a pause is measured with the resume that ends it
                for one in [command, "resume"] if command == "pause" else [command]:
                    heard.at.pop(one, None)
                    began = ask(one, arguments)
                    while one not in heard.at:
                        time.sleep(0.002)
                    times.setdefault(f"{one} {where}", []).append(heard.at[one] - began)
                    time.sleep(0.05)
        for one in dict.fromkeys(key.split()[0] for key in times):
            cells = [
                f"{statistics.median(times[f'{one} {where}']):.3f} ({max(times[f'{one} {where}']):.3f})"
                for where in ("another", "here")
            ]
            print(f"| {one} | {' | '.join(cells)} |")
    asker.stdin.close()
    job.stop()
    job.wait()
    print(f"\n{ROUNDS} rounds; {environment('torch')}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDFUSION_HOME"] = folder
        main()
