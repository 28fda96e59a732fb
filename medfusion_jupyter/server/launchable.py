"""What is started in a process of its own, a kernel or not: a training job, or an execution of a workflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medfusion_jupyter.store.location import home

if TYPE_CHECKING:
    from medfusion_jupyter.store import Execution, Job, Store


@dataclass(frozen=True)
class Launchable:
    """label: for people; path, title: of the session that shows it among the running kernels; code: what the kernel runs.

    gpu: number of the GPU that it was given, the first one of `devices`. not_begun(store, error): notes that its kernel could
    not begin it.
    """

    label: str
    path: str
    title: str
    code: str
    gpu: int | None
    not_begun: Callable[[Store, str], None]
    devices: int = 1

    @classmethod
    def of(cls, launched: Job | Execution) -> Launchable:
        """What `store.queue.launch_next` gave."""
        from medfusion_jupyter.store import Execution

        return _execution(launched) if isinstance(launched, Execution) else _job(launched)

    def environment(self, gpu_names: Sequence[str]) -> dict[str, str]:
        """That of the process which runs the code. gpu_names: what CUDA_VISIBLE_DEVICES may be set to, by number."""
        environment = {**os.environ, "MEDFUSION_HOME": str(home())}
        if self.gpu is not None and self.gpu < len(gpu_names):
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu_names[self.gpu : self.gpu + self.devices])
        return environment


def _job(job: Job) -> Launchable:
    from medfusion_jupyter.store.job_queue import devices_of

    return Launchable(
        label=job.job_id,
        path=f"medfusion/{job.job_id}",
        title=f"{job.job_id} {job.name}",
        code=f"from medfusion_jupyter.training.headless import run_queued\nrun_queued({job.job_id!r})",
        gpu=job.gpu,
        not_begun=lambda store, error: store.queue.not_begun(job.job_id, job.launched_at, error),
        devices=devices_of(job.training_config),
    )


def _execution(execution: Execution) -> Launchable:
    name = f"execution_{execution.id:04d}"
    return Launchable(
        label=name,
        path=f"medfusion/{name}",
        title=f"{name} of workflow {execution.workflow_id}",
        code=f"from medfusion_jupyter.workflows.execution import run_queued\nrun_queued({execution.id!r})",
        gpu=execution.gpu,
        not_begun=lambda store, error: store.executions.not_begun(execution.id, execution.launched_at, error),
        devices=execution.devices,
    )
