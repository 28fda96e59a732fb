"""One run of a job in this process: from the claim on it to its last word in the store."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.data.errors import rows_in_words
from medfusion_jupyter.store import IllegalTransition, JobStatus, RunReplaced, Store, StoreError, home
from medfusion_jupyter.store.insistent import insist, insistent
from medfusion_jupyter.training.assembly import build_loop, build_state, callbacks_of
from medfusion_jupyter.training.callbacks import Callbacks, failure_in_words
from medfusion_jupyter.training.checkpointer import Checkpointer
from medfusion_jupyter.training.checkpoints import Checkpoint, CheckpointError, read_checkpoint
from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.control import Abandoned, Control, Stopped
from medfusion_jupyter.training.devices import choose_device, computing, is_out_of_memory
from medfusion_jupyter.training.fixed_features import read_features_once
from medfusion_jupyter.training.forking import begin_from, input_of
from medfusion_jupyter.training.generators import seed_all
from medfusion_jupyter.training.host_memory import give_back_freed
from medfusion_jupyter.training.model import Model
from medfusion_jupyter.training.preparation import Prepared, prepare
from medfusion_jupyter.training.recorder import Recorder
from medfusion_jupyter.training.same_images import changed_rows
from medfusion_jupyter.training.state import LoopState
from medfusion_jupyter.training.turns import turns
from medfusion_jupyter.training.validation import outputs_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from medfusion_jupyter.store import Job as JobRecord
    from medfusion_jupyter.training.parallel.together import Together

log = logging.getLogger("medfusion")


class Run:
    """Trains one job. Made by `mf.train` and `mf.resume`; one thread of the process works it off in its turn."""

    def __init__(
        self,
        store: Store,
        job_id: str,
        split: Callable[[], Split],
        config: TrainingConfig,
        *,
        callbacks: Sequence[Any] = (),
        launched: bool = False,
    ) -> None:
        """Claims the job; launched: from its queue, by the kernel that a server started for it. callbacks: the user's own.

        Raises IllegalTransition where another live run owns it.
        """
        self.store = store
        self._jobs = insistent(store.jobs)
        self.job_id = job_id
        self.config = config
        self.control = Control()
        self.ended = threading.Event()
        self._split = split
        self._callbacks = callbacks
        self._token = uuid.uuid4().hex
        self._recorder: Recorder | None = None
        self._begun = False
        self._enter(launched)

    @property
    def folder(self) -> Path:
        """Where the job's checkpoints lie."""
        return home() / "jobs" / self.job_id

    def work(self) -> None:
        """Train. Whatever happens, the job ends in a state that says it."""
        self._begun = True
        try:
            self.control.raise_if_ending()
            self._compute()
        except Stopped:
            self._end(JobStatus.STOPPED)
        except (Abandoned, RunReplaced):
            if not self._silent:  # silent: it leaves with its process, and that is said
                log.warning("%s goes on in another process; this run of it has ended.", self.job_id)
        except Exception as error:
            log.debug("%s failed", self.job_id, exc_info=True)
            self._end(JobStatus.FAILED, error=reason_in_words(error, self.config))
        finally:
            self._detach()
            self.ended.set()

    def leave_at_exit(self) -> None:
        """The process ends in good order: the job is interrupted, and can be resumed."""
        self._end(JobStatus.INTERRUPTED, error="the kernel was shut down", patience=0)
        self.control.abandon()

    def _enter(self, launched: bool) -> None:
        claimed = self.store.jobs.claim(
            self.job_id,
            run_token=self._token,
            host=socket.gethostname(),
            pid=os.getpid(),
            process_started=psutil.Process().create_time(),
            kernel_id=kernel_id(),
            launched=launched,
        )
        self._own(claimed)
        self._detach = self.store.writer.attach(self._beat, job_pk=self._pk, waiting=lambda: not self._begun)
        turns.submit(self)

    def _own(self, record: JobRecord) -> None:
        """record: the job's row as this run finds it."""
        self._pk = record.pk
        # a share of its epochs for a run that was broken off, also where it had no more to train
        self._completed = record.progress >= 1

    def _compute(self) -> None:
        self._status(JobStatus.INITIALIZING)
        device = choose_device(self.config.device)
        with computing(device, precision=self.config.precision, deterministic=self.config.deterministic):
            self._train(device, self._last_good_checkpoint())

    def _train(self, device: str, checkpoint: Checkpoint | None, together: Together | None = None) -> None:
        """together: where several processes share the run and this is the first of them."""
        config = self.config
        seed_all(config.seed)
        split = self._split()
        self.control.raise_if_ending()
        prepared = prepare(
            split,
            config,
            device=device,
            cache_dir=home() / "cache" / "pixels",
            spec=None if checkpoint is None else input_of(checkpoint, config),
        )
        self._tell_of_images(prepared, begins=checkpoint is None)
        self.control.raise_if_ending()
        state = build_state(prepared, config, device, restored=checkpoint is not None)
        recorder = Recorder(self.store, self._pk, self.job_id, self._token, device, config.devices)
        description = self._description(prepared)
        checkpointer = Checkpointer(
            self.store,
            self.job_id,
            self._token,
            self.folder,
            config,
            description,
            snapshot=lambda: loop.snapshot(),
            weights_rest=not self._callbacks,
        )
        # the checkpointer late: what the others made of an epoch is in its checkpoint
        callbacks = Callbacks(
            [*callbacks_of(config, state), recorder, *self._callbacks, checkpointer, *([together] if together else [])],
            on_failure=self._callback_failed,
        )
        loop = build_loop(state, prepared, config, device, callbacks, self.control)
        if config.on_out_of_memory == "smaller_batch":
            loop.smaller_batch = partial(self._smaller_batch, description)
        if together is not None:
            together.take_part_in(loop)
        if checkpoint is not None:
            states = begin_from(checkpoint, state, config, self.job_id, completed=self._completed)
            callbacks.load_state_dicts(states)
        read_features_once(
            prepared,
            state.model,
            config,
            device,
            cache_dir=home() / "cache" / "features",
            check=self.control.raise_if_ending,
        )
        self._forget_what_came_after(checkpoint, state)
        del checkpoint  # its tensors are in the state: the run is not to hold them twice
        self._status(JobStatus.RUNNING)
        self._recorder = recorder
        try:
            loop.run()
        except BaseException:
            # the checkpoint under way is a good one, and what failed is to be said, not that it could not be written
            with suppress(CheckpointError):
                checkpointer.writer.wait()
            raise
        state.optimizer.state.clear()  # nothing steps any longer: its moments make room for the model that is kept
        give_back_freed()
        if state.epoch > 0:
            self._keep_model(prepared, loop.settings.autocast)
        self._end(JobStatus.STOPPED if state.stopped else JobStatus.COMPLETED)

    def _smaller_batch(self, description: dict[str, Any], error: RuntimeError) -> dict[str, Any] | None:
        """What a run goes on with whose memory ran out; None where there is nothing smaller. description: of its checkpoints."""
        smaller, said = self.config.smaller_batch(), str(error).splitlines()[0]
        if smaller is None:
            return None
        log.warning("%s: the memory ran out; it goes on with %s. (%s)", self.job_id, in_words(smaller), said)
        self.config = self.config.model_copy(update=smaller)
        description["config"] = self.config.model_dump(mode="json")
        self._jobs.note_event(self.job_id, "out_of_memory", {**smaller, "error": said}, run_token=self._token)
        return smaller

    def _tell_of_images(self, prepared: Prepared, *, begins: bool) -> None:
        """Events of the job for images that cannot be read, and for those that are others than it was started with."""
        images = prepared.train.pixel_cache
        if images is None:
            return
        if images.unreadable and begins:
            self._jobs.note_event(self.job_id, "images_unreadable", {"error": images.unreadable}, run_token=self._token)
        changed = changed_rows(self._folders(), images)
        if changed:
            said = (
                f"{len(changed)} of {len(prepared.targets)} rows have other images than the run was "
                f"started with ({rows_in_words(changed)})."
            )
            log.warning("%s: %s It goes on with them as they are now.", self.job_id, said)
            self._jobs.note_event(self.job_id, "images_changed", {"error": said}, run_token=self._token)

    def _folders(self) -> list[Path]:
        """Of the job, then of the fork's parent or the whole cross-validation, and so on."""
        folders, job_id = [self.folder], self._jobs.get(self.job_id).parent_job_id
        while job_id is not None:
            folders.append(home() / "jobs" / job_id)
            job_id = self._jobs.get(job_id).parent_job_id
        return folders

    def _last_good_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint that can be read; a damaged one is passed over, with a warning and an event of the job."""
        there = insist(lambda: self.store.checkpoints.list(self.job_id))
        for place, record in reversed(list(enumerate(there))):
            try:
                return read_checkpoint(Path(record.checkpoint_path))
            except CheckpointError as error:
                after = "The one before it is used." if place else "There is none before it: the run begins anew."
                log.warning("%s: %s %s", self.job_id, error, after)
                said = {"epoch": record.epoch, "step": record.step, "error": f"{error} {after}"}
                self._jobs.note_event(self.job_id, "checkpoint_damaged", said, run_token=self._token)
        return None

    def _forget_what_came_after(self, checkpoint: Checkpoint | None, state: LoopState) -> None:
        forgotten = self._jobs.truncate(
            self.job_id,
            run_token=self._token,
            epoch=state.epoch,
            step=state.step,
            checkpoint_path=None if checkpoint is None else str(checkpoint.path),
        )
        for path in forgotten:
            Path(path).unlink(missing_ok=True)

    def _callback_failed(self, name: str, event: str, error: Exception, given_up: bool) -> None:
        log.warning("%s: %s", self.job_id, failure_in_words(name, event, error, given_up), exc_info=error)
        self._jobs.note_event(
            self.job_id,
            "callback_failed",
            {"callback": name, "event": event, "error": f"{type(error).__name__}: {error}", "given_up": given_up},
            run_token=self._token,
        )

    def _description(self, prepared: Prepared) -> dict[str, Any]:
        return {
            "job_id": self.job_id,
            "config": self.config.model_dump(mode="json"),
            "architecture": prepared.architecture.to_json(),
            "input": prepared.spec.to_json(),
        }

    def _keep_model(self, prepared: Prepared, autocast: AbstractContextManager[Any]) -> None:
        best = insist(lambda: self.store.checkpoints.best(self.job_id))
        if best is None:
            return
        job = self._jobs.get(self.job_id)
        model = Model.from_checkpoint(Path(best.checkpoint_path), name=job.name)
        head = model.module.head
        if head.fits_outputs:
            prepared.train.share = None  # where several processes trained, this one looks at all rows alone
            model.module.to(prepared.train.device)
            head.fit_outputs(*outputs_of(model.module, prepared.train, autocast))
        folder = home() / "models" / self.job_id / f"epoch-{model.epoch:04d}-{self._token[:8]}"
        model.save(folder)
        architecture = model.module.architecture
        size = architecture.image_size
        insistent(self.store.models).register(
            name=job.name,
            path=str(folder),
            file_size=sum(file.stat().st_size for file in folder.iterdir()),
            format="safetensors",
            backbone=architecture.image_encoder or architecture.table_encoder or "",
            num_classes=architecture.num_classes,
            input_shape=[architecture.channels, *((size, size) if isinstance(size, int) else size)],
            metrics=dict(model.metrics),
            accuracy=model.metrics.get("val/accuracy"),
            loss=model.metrics.get("val/loss"),
            job_id=self.job_id,
            trained_epochs=model.epoch,
            dataset_fingerprint=job.dataset_fingerprint,
            by=job.created_by,
        )
        self._model_path = str(folder)

    _model_path: str | None = None
    _silent = False

    def _status(self, status: JobStatus, **changes: Any) -> None:
        self._jobs.update_status(self.job_id, status, run_token=self._token, **changes)

    def _end(self, status: JobStatus, error: str | None = None, patience: float | None = None) -> None:
        jobs, progress = self.store.jobs, self._recorder.progress() if self._recorder is not None else None

        def write() -> None:
            self.store.writer.flush()
            if progress is not None:
                jobs.update_progress(self.job_id, run_token=self._token, **progress)
            jobs.update_status(self.job_id, status, run_token=self._token, error=error, model_path=self._model_path)

        # the heartbeat of a run that was thought gone makes its job active again: there is none from here on
        self._silent = status == JobStatus.INTERRUPTED
        self.store.writer.wake()
        try:
            insist(write, patience)
            self._answer_late_commands(status)
        except RunReplaced:
            return
        except StoreError as refused:
            if status == JobStatus.INTERRUPTED and isinstance(refused, IllegalTransition):
                return  # it had its last word just before its process ends
            log.error("%s ended as %s, but the store did not take it: %s", self.job_id, status, refused)

    def _answer_late_commands(self, status: JobStatus) -> None:
        """Say what was asked for and not done any more. From here on the store refuses commands: the job has ended."""
        if status == JobStatus.INTERRUPTED:
            return
        taken = self.store.jobs.take_commands(self.job_id, run_token=self._token)
        late = self.control.unheard() + [(one.command, one.arguments or {}) for one in taken]
        for command, arguments in late:
            if status == JobStatus.STOPPED and command != "set":
                continue  # it rests, and is saved
            asked = in_words(arguments) or command
            said = f"{asked} came when the last step was done: the job is {status} without it."
            if arguments:
                said += f" {instead_of_change(self.job_id, arguments)}"
            event = {"command": command, "arguments": arguments, "error": said}
            self.store.jobs.note_event(self.job_id, "command_late", event, run_token=self._token)

    def _beat(self, session: Session) -> None:
        """Called by the writer thread: heartbeat and progress out, commands in."""
        if self._silent:
            return
        jobs = self.store.jobs
        progress = self._recorder.progress() if self._recorder is not None else None
        if not jobs.beat_in(session, self._pk, self._token, progress):
            self.control.abandon()
            return
        for command in jobs.take_commands_in(session, self._pk, self._token):
            self.control.deliver(command.command, command.arguments)
            if command.command == "stop" and not self._begun and turns.withdraw(self):
                # not in this thread: it holds the store's write lock
                threading.Thread(target=self.work, name="medfusion-stop").start()


def saved_split(folder: Path, fingerprint: str) -> Split:
    """The cohort and the split that a job was started with; a warning says where its images have changed since."""
    cohort = Cohort.read(home() / "datasets" / fingerprint)
    if cohort.fingerprint != fingerprint:
        log.warning(
            "The images of %s are not those that %s was started with: files in %s came, went or have other sizes.",
            cohort.name or cohort.target.name,
            folder.name,
            cohort.image_root,
        )
    return Split.read(folder / "split.json", cohort)


def reason_in_words(error: Exception, config: TrainingConfig) -> str:
    """What a job says that failed by `error`."""
    if not is_out_of_memory(error):
        return str(error) or type(error).__name__
    smaller, same = config.smaller_batch(), ""
    if smaller is not None:
        can = config.devices == 1 and config.on_out_of_memory == "fail"
        by_itself = " (on_out_of_memory='smaller_batch' does so by itself)" if can else ""
        same = f"{in_words(smaller)} trains the same steps{by_itself}; "
    return (
        f"There is no memory for batch_size={config.batch_size} at image_size={config.image_size}. {same}a smaller "
        f"image_size or gradient_checkpointing=True needs less, too. ({str(error).splitlines()[0]})"
    )


def in_words(settings: Mapping[str, Any]) -> str:
    """As keywords of `mf.train`."""
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def instead_of_change(job_id: str, changes: Mapping[str, Any]) -> str:
    """What to do in place of changing the settings of a job that has ended."""
    if changes.keys() == {"epochs"}:
        return f"mf.resume({job_id!r}, {in_words(changes)}) goes on with it for more epochs."
    return f"mf.load_job({job_id!r}).fork({in_words(changes)}) begins a new one."


def kernel_id() -> str | None:
    """The id of the kernel this process is, from the name of its connection file."""
    from ipykernel.connect import get_connection_file

    try:
        return Path(get_connection_file()).stem.removeprefix("kernel-")
    except RuntimeError:  # not in a kernel
        return None
