"""How a model learns: configuration, loop, callbacks, checkpoints, control, and the Job that a user holds."""

from medfusion_jupyter.training.callbacks import Callback
from medfusion_jupyter.training.checkpoints import CheckpointError
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.finders import BatchSizeSearch, LRSearch, find_batch_size, find_lr
from medfusion_jupyter.training.job import Job, JobFailed, load_job, resume, train
from medfusion_jupyter.training.model import Model, ModelError, load_model

__all__ = [
    "BatchSizeSearch",
    "Callback",
    "CheckpointError",
    "ConfigError",
    "Job",
    "JobFailed",
    "LRSearch",
    "Model",
    "ModelError",
    "TrainingConfig",
    "find_batch_size",
    "find_lr",
    "load_job",
    "load_model",
    "resume",
    "train",
]
