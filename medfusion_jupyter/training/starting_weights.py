"""A new model, with the weights that its image encoder starts from."""

from __future__ import annotations

import re
from pathlib import Path

from medfusion_jupyter.nn import Architecture, FusionModel, image_encoders
from medfusion_jupyter.nn.monai_encoders import no_default_weights
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training.config import ConfigError
from medfusion_jupyter.training.model import Model

OF_A_JOB = re.compile(r"job_\d+")


def new_model(architecture: Architecture, image_weights: str | None) -> FusionModel:
    """Build a model; all but what `image_weights` gives is drawn from torch's generator.

    image_weights: as of the setting. Raises ConfigError where a job's model has another image encoder, and what
    `build_image_encoder` raises for the others.
    """
    if architecture.image_encoder is None or image_weights is None:
        return FusionModel(architecture)
    if not OF_A_JOB.fullmatch(image_weights):
        return FusionModel(architecture, image_weights=image_weights)
    model, other = FusionModel(architecture), _model_of(image_weights).module
    theirs, wanted = other.architecture, (architecture.image_encoder, architecture.channels)
    if other.image_encoder is None or (theirs.image_encoder, theirs.channels) != wanted:
        raise ConfigError(
            f"image_weights={image_weights!r}: its image encoder is {theirs.image_encoder} of {theirs.channels} channels, this "
            f"model's is {wanted[0]} of {wanted[1]}. Name a job that trained the same, or set image_encoder to it."
        )
    for view, encoder in enumerate(model.image_encoders):
        # a view's own encoder, or the one of all views
        encoder.load_state_dict(other.image_encoders[view % len(other.image_encoders)].state_dict())
    return model


def check_image_weights(image_encoder: str | None, image_weights: str | None) -> None:
    """Say before a job is stored what would keep it from starting. Raises ConfigError; UnknownId for a job that is not there."""
    if image_encoder is None or image_weights is None:
        return
    builder = image_encoders(image_encoder)
    if OF_A_JOB.fullmatch(image_weights):
        _model_of(image_weights)
    elif not getattr(builder, "pretrainable", False):
        raise ConfigError(
            f"image_weights={image_weights!r}: nobody publishes weights of {image_encoder!r}. It can start from a job "
            "that trained it, such as image_weights='job_0001'."
        )
    elif image_weights == "default" and not getattr(builder, "default_weights", True):
        raise ConfigError(no_default_weights(image_encoder))
    elif image_weights != "default" and not Path(image_weights).expanduser().is_file():
        raise ConfigError(
            f"image_weights={image_weights!r} is no file. Give 'default', a file of weights, or a job such as 'job_0001'."
        )


def _model_of(job_id: str) -> Model:
    path = open_store().jobs.get(job_id).model_path
    if path is None or not Path(path).exists():
        raise ConfigError(f"image_weights={job_id!r} has no model that was kept: give a job that has ended with one.")
    return Model.load(Path(path))
