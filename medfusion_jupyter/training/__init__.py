"""How a model learns: configuration, loop, callbacks, checkpoints, control, and the Job that a user holds."""

from medfusion_jupyter.training.callbacks import Callback
from medfusion_jupyter.training.checkpoints import CheckpointError
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.cross_validation import CrossValidation, cross_validate, load_cross_validation
from medfusion_jupyter.training.finders import BatchSizeSearch, LRSearch, find_batch_size, find_lr
from medfusion_jupyter.training.job import Job, load_job, resume, train
from medfusion_jupyter.training.model import Model, ModelError, load_model
from medfusion_jupyter.training.starting import JobFailed

__all__ = [
    "BatchSizeSearch",
    "Callback",
    "CheckpointError",
    "ConfigError",
    "CrossValidation",
    "Job",
    "JobFailed",
    "LRSearch",
    "Model",
    "ModelError",
    "TrainingConfig",
    "cross_validate",
    "find_batch_size",
    "find_lr",
    "load_cross_validation",
    "load_job",
    "load_model",
    "resume",
    "train",
]
