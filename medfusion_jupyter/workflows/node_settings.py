"""What the nodes of the project can be set to. Each model's JSON schema draws the form of its node."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medfusion_jupyter.settings.preprocessing import ImagePreprocessing
from medfusion_jupyter.settings.training import TrainingSettings

Seed = Annotated[int, Field(ge=0, lt=2**31, description="the same seed gives the same result")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Part = Literal["train", "val", "test"]


TargetColumn = Annotated[
    Name | list[Name] | dict[str, Any],
    Field(
        description="column of the classes to predict, a list of columns of findings, or a target as an object, as "
        "mf.Survival(…).to_json() gives it; several of these by name are learned together"
    ),
]
Bag = Annotated[
    bool | Name,
    Field(
        description="true where a cell names several images with ; between them; or the column, such as that of the study, "
        "whose rows become one with all their images"
    ),
]
CtWindow = Annotated[
    str | tuple[float, float] | None,
    Field(
        description="what is black and white of CT: lung, brain and the like, or [low, high] in Hounsfield units",
        json_schema_extra={"unit": "HU"},
    ),
]


class NodeSettings(BaseModel):
    """Settings of a node: nothing beside what is named, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CsvSettings(NodeSettings):
    """Settings of `source.csv`, which are those of `mf.Cohort`."""

    table: Annotated[str, Field(min_length=1, description="path of the CSV, one row an image or patient")]
    target: TargetColumn
    image: Annotated[
        Name | list[Name] | dict[Name, Name] | None,
        Field(
            description="column with the name of each row's image file; several columns are views, as a list, or as an object "
            "that names them"
        ),
    ] = None
    image_root: Annotated[
        str | None, Field(description="folder of the images; by default that of the CSV", min_length=1)
    ] = None
    bag: Bag = False
    window: CtWindow = None
    patient: Annotated[
        Name | None, Field(description="column of the patient's id: rows of one patient stay on one side of a split")
    ] = None
    numeric: Annotated[list[Name], Field(description="columns of numbers to learn from")] = []
    categorical: Annotated[list[Name], Field(description="columns of categories to learn from")] = []


class DicomFolderSettings(NodeSettings):
    """Settings of `source.dicom`, which are those of `mf.read_dicom_folder`."""

    folder: Annotated[str, Field(min_length=1, description="folder of the DICOM files, with those within it")]
    labels: Annotated[str, Field(min_length=1, description="path of a CSV with the target of each patient or study")]
    target: TargetColumn
    on: Annotated[
        Literal["PatientID", "StudyInstanceUID", "SeriesInstanceUID"],
        Field(description="column of the labels with the id that the files have under this name"),
    ] = "PatientID"
    numeric: Annotated[
        list[Name], Field(description="columns of numbers to learn from, of the labels, or PatientAge in years")
    ] = []
    categorical: Annotated[
        list[Name], Field(description="columns of categories to learn from, of the labels, or PatientSex, Modality …")
    ] = []
    bag: Bag = False
    window: CtWindow = None


class DatasetSettings(NodeSettings):
    """Settings of `source.dataset`."""

    name: Annotated[Name, Field(description="name of a stored dataset, as given to cohort.save")]


class PublicSettings(NodeSettings):
    """Settings of `source.public`."""

    name: Annotated[
        Name,
        Field(
            description="a cohort that mf.public_cohorts() lists; it is downloaded once",
            examples=["pneumoniamnist", "breastmnist", "hannover-cxr"],
        ),
    ]


class MedMnistSettings(NodeSettings):
    """Settings of `source.medmnist`, which are those of `mf.read_medmnist`."""

    path: Annotated[
        str, Field(min_length=1, description="path of a file of MedMNIST with images or volumes, ending in .npz")
    ]
    labels: Annotated[
        list[Name] | None,
        Field(
            min_length=1,
            description="names of the classes in the order of their numbers, or of the labels where an image has several; by "
            "default the numbers",
        ),
    ] = None
    ordinal: Annotated[bool, Field(description="the classes are grades in their order, as in RetinaMNIST")] = False


class SyntheticSettings(NodeSettings):
    """Settings of `source.synthetic`."""

    n: Annotated[
        int,
        Field(
            ge=20, le=1_000_000, description="number of patients, 20 or more", json_schema_extra={"unit": "patients"}
        ),
    ] = 2000
    seed: Seed = 0
    d_image: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="distance of the classes in the image, in standard deviations",
            json_schema_extra={"unit": "standard deviations"},
        ),
    ] = 1.2
    d_table: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="distance of the classes in the table, in standard deviations",
            json_schema_extra={"unit": "standard deviations"},
        ),
    ] = 0.9
    image_size: Annotated[
        int, Field(ge=16, le=512, description="side of the images in pixels", json_schema_extra={"unit": "px"})
    ] = 32


class FilterSettings(NodeSettings):
    """Settings of `cohort.filter`, which are those of `cohort.filter`."""

    column: Annotated[Name, Field(description="column of the table to choose rows by")]
    at_least: Annotated[
        float | None,
        Field(description="keep rows whose number is this or more", json_schema_extra={"unit": "as the column"}),
    ] = None
    at_most: Annotated[
        float | None,
        Field(description="keep rows whose number is this or less", json_schema_extra={"unit": "as the column"}),
    ] = None
    one_of: Annotated[
        list[str] | None, Field(description="keep rows whose value is one of these, as text", min_length=1)
    ] = None
    keep_missing: Annotated[bool, Field(description="keep rows without a value too")] = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.at_least is None and self.at_most is None and self.one_of is None and self.keep_missing:
            raise ValueError("nothing would be left out: set at_least, at_most or one_of, or keep_missing to False")
        return self


class DeriveSettings(NodeSettings):
    """Settings of `cohort.derive`, which are those of `cohort.derive`."""

    name: Annotated[Name, Field(description="name of the new numeric column")]
    formula: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1000,
            description="of numeric columns, numbers, + - * / ** and log, log10, exp, sqrt, abs, minimum, maximum; a column "
            "whose name has spaces is put in backquotes",
            examples=["crp / ldh", "log(crp + 1)"],
        ),
    ]


class ImagePreprocessingSettings(ImagePreprocessing):
    """Settings of `cohort.preprocess_images`, which are those of that function."""

    window: CtWindow = None


class CheckSettings(NodeSettings):
    """Settings of `cohort.check`."""

    folds: Annotated[
        int,
        Field(
            ge=2,
            le=20,
            description="folds of the cross-validation that looks for shortcuts",
            json_schema_extra={"unit": "folds"},
        ),
    ] = 5
    batch_size: Annotated[
        int,
        Field(
            ge=2, le=65_536, description="rows a batch that you mean to train with", json_schema_extra={"unit": "rows"}
        ),
    ] = 32
    images: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="images to look into, drawn by the seed",
            json_schema_extra={"unit": "images"},
        ),
    ] = 2000
    seed: Seed = 0
    stop_at: Annotated[
        Literal["error", "warning", "never"],
        Field(
            description="stop the run at findings of this severity or a graver one, before anything is trained; never only "
            "tells them"
        ),
    ] = "never"


class SplitSettings(NodeSettings):
    """Settings of `cohort.split`."""

    test: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of rows that training never sees, by patient",
            json_schema_extra={"unit": "share of rows"},
        ),
    ] = 0.2
    val: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="share of rows for validation, by patient",
            json_schema_extra={"unit": "share of rows"},
        ),
    ] = 0.2
    seed: Seed = 0

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val={self.val} and test={self.test} leave nothing to train on: together below 1")
        return self


class SplitByColumnSettings(NodeSettings):
    """Settings of `cohort.split_by`."""

    column: Annotated[Name, Field(description="column whose values are train, val and test, as of a published split")]


class ImageEncoderSettings(NodeSettings):
    """Settings of `model.image_encoder`."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            description="registered image encoder, or a network of torchvision by its name",
            examples=[
                "light_cnn",
                "resnet18",
                "resnet18_3x3",
                "resnet50",
                "densenet121",
                "efficientnet_b0",
                "vit_b_16",
            ],
        ),
    ] = "resnet18"


class TableEncoderSettings(NodeSettings):
    """Settings of `model.table_encoder`."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            description="registered table encoder",
            examples=["mlp", "residual_mlp", "ft_transformer"],
        ),
    ] = "mlp"


class FusionSettings(NodeSettings):
    """Settings of `model.fusion`."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            description="registered fusion of image and table",
            examples=[
                "concat",
                "gated",
                "film",
                "cross_attention",
                "transformer",
                "low_rank",
                "tensor",
                "moe",
                "late",
            ],
        ),
    ] = "gated"


class HeadSettings(NodeSettings):
    """Settings of `model.head`."""

    name: Annotated[
        str, Field(min_length=1, description="registered head, which owns the loss", examples=["classification"])
    ] = "classification"


def _without(*names: str) -> Any:
    def take_away(schema: dict[str, Any]) -> None:
        for name in names:
            schema["properties"].pop(name)

    return take_away


SHARES = ("val", "test")
DESIGN = ("image_encoder", "tabular_encoder", "fusion", "head")
"""Settings of training that stand for the nodes of the family Model."""


class TrainSettings(TrainingSettings):
    """Settings of `train`: those of `mf.train` but the shares, which the node has that splits."""

    model_config = ConfigDict(json_schema_extra=_without(*SHARES))

    @model_validator(mode="after")
    def _of_a_split(self) -> Self:
        given = sorted(self.model_fields_set & set(SHARES))
        if given:
            raise ValueError(f"{' and '.join(given)} cannot be set here: set them on the node that splits the cohort")
        return self


class CrossValidateSettings(TrainingSettings):
    """Settings of `cross_validate`: those of `mf.cross_validate`."""

    model_config = ConfigDict(json_schema_extra=_without("test"))

    folds: Annotated[
        int,
        Field(
            ge=2,
            le=100,
            description="parts that each are the test part once, by patient",
            json_schema_extra={"unit": "folds"},
        ),
    ] = 5
    repeats: Annotated[
        int, Field(ge=1, le=100, description="how often the folds are drawn anew", json_schema_extra={"unit": "times"})
    ] = 1

    @model_validator(mode="after")
    def _of_folds(self) -> Self:
        if "test" in self.model_fields_set:
            raise ValueError("test cannot be set here: each fold tests one part in so many as there are folds")
        return self


class EvaluateSettings(NodeSettings):
    """Settings of `evaluate`."""

    split: Annotated[
        Part,
        Field(description="part of the cohort that the model was trained on; not used where a cohort is connected"),
    ] = "test"


class RegisterSettings(NodeSettings):
    """Settings of `model.register`."""

    alias: Annotated[
        Name,
        Field(description="name that means this version from now on, such as production", examples=["production"]),
    ]


class ModelExportSettings(NodeSettings):
    """Settings of `model.export`, which are those of that function."""

    path: Annotated[
        str,
        Field(
            min_length=1,
            description="file to write; what is there is replaced",
            examples=["model.zip", "model.onnx"],
        ),
    ]
    format: Annotated[
        Literal["archive", "onnx"] | None,
        Field(
            description="archive (.zip), which another MedFusion takes in, or onnx (.onnx) with a card of its preprocessing "
            "beside it; by default by the path's ending"
        ),
    ] = None


class ExportSettings(NodeSettings):
    """Settings of `predictions.export`."""

    path: Annotated[str, Field(min_length=1, description="file to write; what is there is replaced")]


class NoteSettings(NodeSettings):
    """Settings of `note`."""

    text: Annotated[str, Field(max_length=10_000, description="what whoever reads the workflow should know")] = ""
