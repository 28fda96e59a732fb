"""A trained model: loading, saving and predicting."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from medfusion_jupyter.data import Cohort
from medfusion_jupyter.nn import Architecture, FusionModel, SurvivalHead
from medfusion_jupyter.settings.watched import headline, words_of
from medfusion_jupyter.store import home, open_store
from medfusion_jupyter.store.durable_files import write_durably, write_json
from medfusion_jupyter.training.checkpoints import read_checkpoint
from medfusion_jupyter.training.devices import autocast, choose_device
from medfusion_jupyter.training.input_spec import InputSpec
from medfusion_jupyter.training.prediction import columns_of, judged_by, predictions
from medfusion_jupyter.training.validation import outputs_of

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

WEIGHTS, CARD = "model.safetensors", "model.json"


class ModelError(RuntimeError):
    """A model that cannot be loaded or used so."""


@dataclass
class Model:
    """A trained model with all that its input needs.

    name, version: as in the store; version is None for a model that was taken from a checkpoint of an unfinished job.
    job_id: the job that trained it; epoch: the epoch its weights are of; metrics: those of validation at that epoch.
    """

    module: FusionModel
    spec: InputSpec
    name: str
    version: int | None
    job_id: str | None
    epoch: int
    metrics: Mapping[str, float]

    def __repr__(self) -> str:
        version = f" v{self.version}" if self.version is not None else ""
        parts = self.module.architecture
        encoders = " + ".join(part for part in (self._of_images(), parts.table_encoder) if part)
        weights = sum(parameter.numel() for parameter in self.module.parameters())
        metric = headline(self.metrics)
        value = self.metrics.get(metric)
        worth = f", val {words_of(metric)} {value:.3f}" if value is not None else ""
        return (
            f"<Model {self.name}{version}: {encoders}, {parts.fusion}, {weights:,} weights, "
            f"epoch {self.epoch} of {self.job_id}{worth}>"
        )

    def _of_images(self) -> str | None:
        """The image encoder with the views, or the bags, that it is for."""
        parts = self.module.architecture
        if parts.image_encoder is None:
            return None
        views = f" of {', '.join(parts.views)}" if parts.views else ""
        return parts.image_encoder + (f" of bags{views} ({parts.aggregator})" if self.spec.has_bags else views)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, grades or labels in the order of their probabilities; none of numbers, times, several targets."""
        return self.spec.classes

    def predict(
        self,
        data: Cohort | pd.DataFrame | str | Path,
        *,
        image_root: str | Path | None = None,
        times: Sequence[float] | None = None,
        batch_size: int = 128,
        device: str = "auto",
    ) -> pd.DataFrame:
        """What the model says of each row of `data`; the columns of the target need not be there.

        A probability for each class or label. Of grades the grade in the middle of what is expected, under the name of the
        target's column, and a probability for each. Of a number the number, under the target's name, and with head="gaussian" the
        bounds `_low` and `_high` within which 95 % of such rows are expected. Of survival `risk`, higher for whom the event is
        expected sooner, and `survival_<time>`, the probabilities to be without the event then. Of several targets all of these: a
        number or grade under the name of its target, the others with it before them, as `death_risk`.

        data: a Cohort, a DataFrame or the path of a CSV with the columns that the model was trained on. image_root: the
        folder of its images, where it is not that of the training cohort. A missing image or value is treated as in
        training. times: of survival, from 0 to the last time that was learned; by default ten at which events were seen. Raises
        CohortError for columns that are not there, and ModelError for times that cannot be told.
        """
        import pandas as pd

        cohort = (
            data
            if isinstance(data, Cohort)
            else Cohort.from_roles(data, dict(self.spec.roles), image_root=image_root, target_required=False)
        )
        at = None if times is None else self._times(times)
        predicted = self.predictions(cohort, np.arange(len(cohort)), times=at, batch_size=batch_size, device=device)
        columns = columns_of(self.spec.target, judged_by(self.module.head, at), predicted)
        return pd.DataFrame(columns, index=cohort.frame.index)

    def _times(self, times: Sequence[float]) -> Tensor:
        """Times at which survival can be told, in double precision. Raises ModelError."""
        ends = [
            float(head.times[-1])
            for head in self.module.head.parts.values()
            if isinstance(head, SurvivalHead) and len(head.times)
        ]
        if not ends:
            raise ModelError(f"times={list(times)} is of survival over time, which {self.name} did not learn.")
        wrong = [time for time in times if not 0 <= time <= min(ends)]
        if wrong or not len(times) or sorted(set(times)) != list(times):
            raise ModelError(
                f"times={list(times)}: give times that rise, from 0 to {min(ends):g}, the last that {self.name} learned."
            )
        return torch.tensor(list(times), dtype=torch.float64)

    def predictions(
        self,
        cohort: Cohort,
        rows: np.ndarray,
        *,
        times: Tensor | None = None,
        batch_size: int = 128,
        device: str = "auto",
    ) -> np.ndarray:
        """Of those rows of `cohort` what metrics judge, `(len(rows), P)`: see `training.prediction.predictions`."""
        self.spec.refuse_other(cohort)
        chosen = choose_device(device)
        pixels = self.spec.pixels(cohort, home() / "cache" / "pixels")
        source = self.spec.source(cohort, pixels, rows, batch_size=batch_size, device=chosen)
        self.module.to(chosen)
        outputs, _ = outputs_of(self.module, source, autocast(chosen, "auto"))
        predicted: np.ndarray = predictions(self.module.head, outputs, times).cpu().numpy()
        return predicted

    def set_alias(self, alias: str) -> Model:
        """Let `alias`, such as `production`, mean this version of the model from now on; gives the model.

        Raises ModelError for one that is not in the store's models yet, and BadValue for an alias that reads like a version.
        """
        if self.version is None:
            raise ModelError(f"{self.name} is no version of the store yet: its job {self.job_id} has not ended.")
        open_store().models.set_alias(self.name, alias, self.version)
        return self

    def export(self, path: str | Path, format: Literal["archive", "onnx"] | None = None) -> Path:
        """Write the model for use elsewhere; gives the path. What is there is replaced.

        format: by default that of the path's ending. `archive` (`.zip`): weights and description in one file, which another
        MedFusion's models take in. `onnx` (`.onnx`): a graph for any runtime of ONNX, from images (0 to 1), the encoded table and
        a mask of what is present to what `predict` gives, for any number of rows; beside it a `.json` of the same name says what
        its inputs are and how images and table are prepared.

        Raises ModelError for a folder that is not there, another ending, and a part that has no ONNX, by its name.
        """
        target = Path(path).expanduser()
        formats = {".zip": "archive", ".onnx": "onnx"}
        chosen = formats.get(target.suffix.lower()) if format is None else format
        if chosen not in formats.values():
            raise ModelError(
                f"{target.name!r} and format={format!r} do not say what to export: end the path with .zip (an archive for "
                "another MedFusion) or .onnx, or give format='archive' or 'onnx'."
            )
        if not target.parent.is_dir():
            raise ModelError(f"The folder of {str(path)!r} does not exist: make it first.")
        if chosen == "onnx":
            from medfusion_jupyter.training.onnx_export import NotExportable, export_onnx

            try:
                export_onnx(self, target)
            except NotExportable as refused:
                raise ModelError(str(refused)) from refused
            return target
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder))
            write_durably(target, partial(_zip, Path(folder)))
        return target

    def save(self, folder: Path) -> None:
        """Write weights and description durably; the description last, so that a folder with it is whole."""
        tensors = {name: value.detach().cpu() for name, value in self.module.state_dict().items()}
        write_durably(folder / WEIGHTS, lambda temporary: save_file(tensors, temporary))
        write_json(
            folder / CARD,
            {
                "format": 1,
                "name": self.name,
                "job_id": self.job_id,
                "epoch": self.epoch,
                "metrics": dict(self.metrics),
                "architecture": self.module.architecture.to_json(),
                "input": self.spec.to_json(),
            },
        )

    @classmethod
    def load(cls, folder: Path, *, version: int | None = None) -> Model:
        """Read what `save` wrote. Raises ModelError where files are missing or damaged."""
        try:
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            weights = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise ModelError(f"The model in {folder} cannot be read: {error}.") from error
        return cls._build(card, weights, version=version)

    @classmethod
    def from_checkpoint(cls, path: Path, *, name: str) -> Model:
        """The model as it was when the checkpoint was taken: the average of its weights where the run kept one.

        Raises CheckpointError where it cannot be read.
        """
        # not the optimiser's state, which is twice as large: the run may still hold its own
        checkpoint = read_checkpoint(path, sections=("model", "ema"))
        weights = checkpoint.section("ema") or checkpoint.section("model")
        return cls._build({**checkpoint.description, "name": name}, weights, version=None)

    @classmethod
    def _build(cls, card: Mapping[str, Any], weights: Mapping[str, Tensor], *, version: int | None) -> Model:
        module = FusionModel(Architecture.from_json(card["architecture"]))
        module.load_state_dict(dict(weights))
        module.eval()
        return cls(
            module=module,
            spec=InputSpec.from_json(card["input"]),
            name=card["name"],
            version=version,
            job_id=card["job_id"],
            epoch=card["epoch"],
            metrics=card["metrics"],
        )


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in (WEIGHTS, CARD):
            archive.write(folder / name, name)


def load_model(name: str, version: int | None = None, *, alias: str | None = None) -> Model:
    """A model of the store by name: the newest version, the one of that number, or the one that `alias` means.

    Raises UnknownId with the names, versions or aliases that there are, and ModelError where both are given.
    """
    models = open_store().models
    if alias is not None and version is not None:
        raise ModelError(f"version={version} and alias={alias!r} are both given: keep one.")
    record = models.get_by_name(name, version=version) if alias is None else models.get_by_alias(name, alias)
    return Model.load(Path(record.model_path), version=record.version)
