"""The node types that the project brings: what each can be set to, and which function of `nodes.py` it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medfusion_jupyter.settings.training import TrainingSettings
from medfusion_jupyter.workflows.catalogue import Input, NodeType, Output

Seed = Annotated[int, Field(ge=0, lt=2**31, description="the same seed gives the same result")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSettings(_Settings):
    """Settings of `source.dataset`."""

    name: Annotated[
        str, Field(min_length=1, max_length=200, description="name of a stored dataset, as given to cohort.save")
    ]


class SyntheticSettings(_Settings):
    """Settings of `source.synthetic`."""

    n: Annotated[int, Field(ge=20, le=1_000_000, description="number of patients, 20 or more")] = 2000
    seed: Seed = 0
    d_image: Annotated[
        float, Field(ge=0, le=10, description="distance of the classes in the image, in standard deviations")
    ] = 1.2
    d_table: Annotated[
        float, Field(ge=0, le=10, description="distance of the classes in the table, in standard deviations")
    ] = 0.9
    image_size: Annotated[int, Field(ge=16, le=512, description="side of the images in pixels")] = 32


class SplitSettings(_Settings):
    """Settings of `cohort.split`."""

    test: Annotated[float, Field(ge=0, lt=1, description="share of rows that training never sees, by patient")] = 0.2
    val: Annotated[float, Field(gt=0, lt=1, description="share of rows for validation, by patient")] = 0.2
    seed: Seed = 0

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val={self.val} and test={self.test} leave nothing to train on: together below 1")
        return self


SHARES = ("val", "test")


def _without_shares(schema: dict[str, Any]) -> None:
    for name in SHARES:
        schema["properties"].pop(name)


class TrainSettings(TrainingSettings):
    """Settings of `train`: those of `mf.train` but the shares, which the node has that splits."""

    model_config = ConfigDict(json_schema_extra=_without_shares)

    @model_validator(mode="after")
    def _of_a_split(self) -> Self:
        given = sorted(self.model_fields_set & set(SHARES))
        if given:
            raise ValueError(f"{' and '.join(given)} cannot be set here: set them on the node that splits the cohort")
        return self


class EvaluateSettings(_Settings):
    """Settings of `evaluate`."""

    split: Annotated[
        Literal["train", "val", "test"],
        Field(description="part of the cohort that the model was trained on; not used where a cohort is connected"),
    ] = "test"


def _run(function: str) -> str:
    return f"medfusion_jupyter.workflows.nodes:{function}"


BUILTIN = (
    NodeType(
        "source.dataset",
        "Sources",
        "Stored dataset",
        "A cohort that was stored under a name.",
        _run("stored_dataset"),
        outputs=(Output("cohort", "cohort"),),
        settings=DatasetSettings,
    ),
    NodeType(
        "source.synthetic",
        "Sources",
        "Synthetic cohort",
        "Patients with an image and a laboratory value whose best possible AUROC is known.",
        _run("synthetic"),
        outputs=(Output("cohort", "cohort"),),
        settings=SyntheticSettings,
    ),
    NodeType(
        "cohort.split",
        "Cohort",
        "Split by patient",
        "Training, validation and test part that share no patient, each with every class.",
        _run("split"),
        inputs=(Input("cohort", "cohort"),),
        outputs=(Output("split", "split"),),
        settings=SplitSettings,
    ),
    NodeType(
        "train",
        "Training",
        "Train",
        "Train a model that fuses image and table. It is a training job as any other: it can be watched, stopped and resumed.",
        _run("train"),
        inputs=(Input("split", "split"),),
        outputs=(Output("model", "model", "at its best epoch"),),
        settings=TrainSettings,
    ),
    NodeType(
        "evaluate",
        "Evaluation",
        "Evaluate",
        "The metrics of the target, each with its 95 % interval.",
        _run("evaluate_model"),
        inputs=(
            Input("model", "model"),
            Input("cohort", "cohort", "another cohort with the same columns, used whole", required=False),
        ),
        outputs=(Output("evaluation", "evaluation"),),
        settings=EvaluateSettings,
    ),
)
