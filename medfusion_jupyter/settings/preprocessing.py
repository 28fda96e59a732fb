"""What images and table go through before a model sees them. A cohort holds it, and a model keeps it for what it predicts."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from medfusion_jupyter.settings.refusals import reason

USUAL_CLAHE = 2.0

Share = Annotated[float, Field(ge=0, le=1)]


class PreprocessingSettings(BaseModel):
    """Settings of a step before the model: nothing beside what is named, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> dict[str, Any]:
        """What differs from the default, as JSON; `model_validate` reads it."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def with_settings(self, settings: dict[str, Any]) -> Self:
        """These settings with some replaced. Raises ValueError, naming each bad one and what is allowed."""
        try:
            return type(self).model_validate({**self.to_json(), **settings})
        except ValidationError as refused:
            raise ValueError("\n".join(self._in_words(refused))) from None

    def _in_words(self, refused: ValidationError) -> list[str]:
        fields = type(self).model_fields
        reasons: dict[str, list[str]] = {}
        values: dict[str, Any] = {}
        for error in refused.errors():
            name = str(error["loc"][0]) if error["loc"] else ""
            unknown = f"there is no such setting; there are {', '.join(fields)}"
            why = unknown if error["type"] == "extra_forbidden" else reason(error, type(self))
            reasons.setdefault(name, []).append(why)
            values.setdefault(name, error["input"])
        return [
            (f"{name}={values[name]!r}: " if name else "")
            + "; or: ".join(dict.fromkeys(why))
            + "."
            + (f" ({fields[name].description})" if name in fields else "")
            for name, why in reasons.items()
        ]


class ImagePreprocessing(PreprocessingSettings):
    """What becomes of an image as it is measured, in this order: window (which the cohort has), crop, CLAHE, resize, normalise.

    CLAHE: contrast limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994), in 8 x 8 tiles.
    """

    crop: Annotated[
        Literal["foreground"] | Annotated[float, Field(gt=0, le=1)] | tuple[Share, Share, Share, Share] | None,
        Field(
            description="what is kept of an image: foreground (the box of what is not as dark as its darkest, which is black or "
            "air), the share of each side around the centre, such as 0.8, or [left, top, right, bottom] as shares of the width "
            "and height; None keeps all",
            json_schema_extra={"unit": "share of the side"},
        ),
    ] = None
    clahe: Annotated[
        float | None,
        Field(
            ge=1,
            le=40,
            description="limit of the contrast in each tile, 1 to 40, usually 2 to 4: how high a bin of its histogram may "
            "be; True is 2, None leaves the grey values as they are",
            json_schema_extra={"unit": "times the mean bin"},
        ),
    ] = None
    resize: Annotated[
        Literal["stretch", "pad"],
        Field(description="how an image fills the square: stretch, or pad with black, which keeps its proportions"),
    ] = "stretch"
    normalise: Annotated[
        Literal["training", "image", "imagenet"]
        | tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(gt=0, le=1)]],
        Field(
            description="which mean and standard deviation become 0 and 1: those of the training part, of each image, of "
            "ImageNet, or [mean, standard deviation] as shares of the full range",
            json_schema_extra={"unit": "share of the full range"},
        ),
    ] = "training"

    @field_validator("clahe", mode="before")
    @classmethod
    def _clahe(cls, value: Any) -> Any:
        if value is True:
            return USUAL_CLAHE
        return None if value is False else value

    @model_validator(mode="after")
    def _box(self) -> Self:
        if isinstance(self.crop, tuple) and not (self.crop[0] < self.crop[2] and self.crop[1] < self.crop[3]):
            raise ValueError(f"crop={list(self.crop)}: left must be below right, and top below bottom")
        return self

    @property
    def changes_pixels(self) -> bool:
        """Whether what is decoded is more than the image at another size."""
        return self.crop is not None or self.clahe is not None or self.resize != "stretch"


class TablePreprocessing(PreprocessingSettings):
    """What becomes of the columns of a table. What it takes of the values is learned from the training part alone."""

    impute: Annotated[
        Literal["median", "mean"] | float,
        Field(
            description="what stands for a missing number: the column's median or mean, or a number",
            json_schema_extra={"unit": "as the column"},
        ),
    ] = "median"
    indicators: Annotated[
        bool,
        Field(
            description="give each numeric column a column that says where it is missing, and where beyond a detection limit"
        ),
    ] = True
    outliers: Annotated[
        float,
        Field(
            ge=0,
            le=0.25,
            description="share of the values at either end that are held at the quantile there, such as 0.01; 0 holds none",
            json_schema_extra={"unit": "share of the values"},
        ),
    ] = 0.0
    scale: Annotated[
        Literal["standard", "robust", "quantile"],
        Field(
            description="how numbers are scaled: standard (mean and standard deviation), robust (median and interquartile "
            "range) or quantile (their rank, as a normal distribution)"
        ),
    ] = "standard"
    clip: Annotated[
        float,
        Field(
            gt=0,
            le=1000,
            description="scaled numbers are held within so many of its units: a slip of the decimal point must not swamp a batch",
            json_schema_extra={"unit": "standard deviations"},
        ),
    ] = 10.0
    rare: Annotated[
        int,
        Field(
            ge=1,
            le=100_000,
            description="categories in fewer rows of the training part become one, which also stands for those never seen",
            json_schema_extra={"unit": "rows"},
        ),
    ] = 1
