"""A trained model as ONNX: a graph from prepared images and table to predictions, and a card that says how to prepare them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medfusion_jupyter.data.batches import LEAST_SPREAD
from medfusion_jupyter.data.image_columns import TABLE
from medfusion_jupyter.nn import Encoded
from medfusion_jupyter.nn.image_encoders import encode_few
from medfusion_jupyter.store.durable_files import write_durably, write_json
from medfusion_jupyter.training.prediction import judged_by, names_of, predictions

if TYPE_CHECKING:
    from medfusion_jupyter.training.model import Model

ROWS = 2
"""The model is traced with so many rows; torch takes a single one for a constant."""


class NotExportable(ValueError):
    """A model, or a part of it, that has no ONNX."""


class PreparedModel(nn.Module):
    """Images `(B, C, *spatial)` from 0 to 1, an encoded table and which modalities are there, to predictions `(B, P)`.

    It takes its inputs in the order of `named_inputs`. What is absent may hold any numbers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model.module
        spec = model.spec
        self.views = spec.views
        self.has_table = TABLE in spec.modalities
        self.num_features = 0 if spec.table is None else spec.table.num_features
        self.num_categories = 0 if spec.table is None else len(spec.table.cardinalities)
        self.normalised = bool(spec.mean)
        of_channel = (1, -1, *(1 for _ in _sides(spec.image_size)))
        self.register_buffer("mean", torch.tensor(spec.mean).view(of_channel), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(of_channel), persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        left = list(inputs)
        images = [self._encoded(number, left.pop(0)) for number in range(len(self.views))]
        presence = left.pop()
        numeric = codes = None
        if self.has_table:
            numeric = left.pop(0) if self.num_features else torch.zeros(presence.shape[0], 0)
            codes = left.pop(0) if self.num_categories else torch.zeros(presence.shape[0], 0, dtype=torch.int64)
        # encoded here for every row: to leave out those that are absent would make the graph depend on the data
        outputs = self.model(images or None, numeric, codes, presence)
        return predictions(self.model.head, outputs)

    def _encoded(self, view: int, images: Tensor) -> Encoded:
        if self.normalised:
            images = (images - self.mean) / self.std
        else:
            places = tuple(range(2, images.ndim))
            centred = images - images.mean(dim=places, keepdim=True)
            images = centred / centred.square().mean(dim=places, keepdim=True).sqrt().clamp_min(LEAST_SPREAD)
        encoders = self.model.image_encoders
        return encode_few(encoders[view % len(encoders)], images, tokens=self.model.fusion.uses_tokens)

    def named_inputs(self, rows: int = ROWS) -> dict[str, Tensor]:
        """Inputs of the right shapes, with everything there."""
        architecture = self.model.architecture
        shape = (rows, architecture.channels, *_sides(architecture.image_size))
        named = {_name_of(view, self.views): torch.rand(shape) for view in self.views}
        if self.num_features:
            named["table"] = torch.zeros(rows, self.num_features)
        if self.num_categories:
            named["categories"] = torch.zeros(rows, self.num_categories, dtype=torch.int64)
        return {**named, "presence": torch.ones(rows, len(architecture.modalities), dtype=torch.bool)}


def export_onnx(model: Model, path: Path) -> None:
    """Write `path`, and beside it a card with the ending `.json`, which says what the inputs are and how to make them.

    Raises NotExportable, naming the part that has no ONNX.
    """
    if model.spec.has_bags:
        raise NotExportable(
            f"{model.name} learned from bags of images, whose number differs from row to row; such a model is exported as "
            "an archive alone: format='archive'."
        )
    _require()
    module = PreparedModel(model).cpu().eval()
    inputs = module.named_inputs()
    try:
        program = _exported(module, inputs, ["prediction"])
    except Exception as error:  # the exporter, and whatever a part does, may fail in any way
        raise NotExportable(_guilty(module, inputs, error)) from error
    write_durably(path, partial(program.save, external_data=False))
    write_json(path.with_suffix(".json"), _card(model, module, inputs))


def _exported(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> Any:
    with _quiet():
        return torch.onnx.export(
            _traced(module, *inputs.values()),
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=outputs,
        )


def _traced(module: nn.Module, *inputs: Tensor) -> torch.export.ExportedProgram:
    """For any number of rows. Traced here, for torch.onnx would keep to ROWS where a part cannot be traced so."""
    batch = {0: torch.export.Dim("batch", min=1)}
    varies = tuple(batch for _ in inputs)
    shapes = (varies,) if isinstance(module, PreparedModel) else varies
    with torch.no_grad():
        return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)


def _guilty(module: PreparedModel, inputs: dict[str, Tensor], error: Exception) -> str:
    """Which part of a model cannot be exported, in words."""
    architecture = module.model.architecture
    alone: list[tuple[str, nn.Module, list[Tensor]]] = [
        (f"image_encoder={architecture.image_encoder!r}", encoder, [inputs[_name_of(module.views[0], module.views)]])
        for encoder in module.model.image_encoders[:1]
    ]
    if module.model.table_encoder is not None:
        widths = ((module.num_features, torch.float32), (module.num_categories, torch.int64))
        table = [torch.zeros(ROWS, width, dtype=dtype) for width, dtype in widths]
        alone.append((f"tabular_encoder={architecture.table_encoder!r}", module.model.table_encoder, table))
    guilty = f"fusion={architecture.fusion!r} or head={architecture.head!r}"
    for name, part, given in alone:
        try:
            with _quiet():
                torch.onnx.export(_traced(part, *given), dynamo=True, verbose=False)
        except Exception as found:  # as above
            guilty, error = name, found
            break
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{guilty} has no ONNX: {first[:300]} Export an archive (format='archive'), or train with another."


def _card(model: Model, module: PreparedModel, inputs: dict[str, Tensor]) -> dict[str, Any]:
    spec, table = model.spec, model.spec.table
    meanings = {
        "table": "numbers as `preprocessing.table` makes them: of each column its scaled number, then its indicators",
        "categories": "the code of each categorical column, from `preprocessing.table`",
        "presence": f"which modalities of a row are there: {', '.join(spec.modalities)}; of others any number may stand",
    }
    card: dict[str, Any] = {
        "format": 1,
        "name": model.name,
        "version": model.version,
        "job_id": model.job_id,
        "epoch": model.epoch,
        "metrics": dict(model.metrics),
        "architecture": module.model.architecture.to_json(),
        "inputs": [
            {
                "name": name,
                "shape": ["batch", *tensor.shape[1:]],
                "type": str(tensor.dtype).removeprefix("torch."),
                "meaning": meanings.get(
                    name, "images as `preprocessing.images` makes them, from black (0) to white (1)"
                ),
            }
            for name, tensor in inputs.items()
        ],
        "output": {
            "name": "prediction",
            "columns": names_of(spec.target, judged_by(module.model.head)),
        },
        "preprocessing": {},
    }
    if spec.views:
        card["preprocessing"]["images"] = {
            "steps": list(_steps(model)),
            "window": spec.roles.get("window"),
            **spec.image_preprocessing.model_dump(mode="json"),
            "image_size": spec.image_size,
            "spacing": spec.spacing,
            "channels": spec.channels,
            "mean": list(spec.mean),
            "std": list(spec.std),
        }
    if table is not None:
        card["preprocessing"]["table"] = {**table.to_json(), "units": dict(spec.units)}
    return card


def _steps(model: Model) -> Iterator[str]:
    """What is done to an image, in words and in order."""
    spec = model.spec
    how = spec.image_preprocessing
    window = spec.roles.get("window")
    yield (
        "read the image "
        + {1: "as grey", 3: "in colour"}.get(spec.channels, f"in {spec.channels} channels")
        + ", as many bits as it has"
    )
    if len(_sides(spec.image_size)) == 3:
        yield "turn the volume so that slices go from feet to head, rows from front to back, columns from right to left"
    if window is not None:
        yield f"make {window[0]:g} HU black (0) and {window[1]:g} HU white (1)"
    else:
        yield "make black 0 and white 1, by the image's own window; of CT -1000 HU and 1000 HU"
    if spec.spacing is not None:
        yield f"resample it to {spec.spacing} mm"
    if how.crop == "foreground":
        yield "keep the box of rows and columns with more than 1 % of pixels above 0.05"
    elif how.crop is not None:
        yield f"keep the part crop={how.crop}"
    if how.clahe is not None:
        yield f"equalise it by CLAHE with a clip limit of {how.clahe:g} times the mean bin in 8 x 8 tiles"
    size = " x ".join(map(str, _sides(spec.image_size)))
    if spec.spacing is not None:
        yield f"cut or fill it with black around the centre to {size}"
    else:
        yield f"{how.resize} it to {size}, smoothed where it gets smaller"
    yield "do not normalise it: the graph does"


def _sides(size: int | tuple[int, int, int]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _name_of(view: str, views: tuple[str, ...]) -> str:
    return "images" if len(views) == 1 else f"images_{view}"


def _require() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as missing:
        raise NotExportable(
            f"ONNX needs {missing.name}, which is not installed: pip install 'medfusion-jupyter[onnx]'."
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its own passes."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
