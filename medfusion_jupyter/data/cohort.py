"""A cohort: a table of patients, their images, and which column plays which role."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data import image_columns
from medfusion_jupyter.data.boxes import BoxColumns, Places
from medfusion_jupyter.data.cohort_building import build
from medfusion_jupyter.data.cohort_folder import fingerprint_of, read_cohort, write_cohort
from medfusion_jupyter.data.cohort_view import html_of, in_a_line
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.image_columns import ImageColumns
from medfusion_jupyter.data.image_steps import refuse_unfit
from medfusion_jupyter.data.readers.medical_image import ends_of
from medfusion_jupyter.data.targets import Target, Values
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing, TablePreprocessing
from medfusion_jupyter.store import home, open_store

if TYPE_CHECKING:
    from medfusion_jupyter.data.checks import Findings, StopAt
    from medfusion_jupyter.data.split import Split


class Cohort:
    """Rows of a table, each with a target and, where given, an image, clinical values and the patient it belongs to.

    table: path of a UTF-8 CSV, or a DataFrame (which is copied). target: the column with the class; a list of columns of
    findings, each 0, 1 or unknown; or `mf.Ordinal(column, classes=[…])` for grades, `mf.Regression(column)` for a number,
    `mf.Survival(time=…, event=…)` for the time to an event. Every row has one. Several of these by name are learned by one model,
    `{"death": mf.Survival(…), "icu": "icu"}`: the columns of each may be empty where it is not known.
    image: column with the image's path relative to image_root (PNG, JPEG, TIFF,
    BMP, DICOM, NIfTI, `.npy`, `.npz`; the suffix may be left out). Several columns are views, each a modality that may be absent:
    `["frontal", "lateral"]`, or `{"frontal": "column", …}` to name them.
    image_root: folder of the images; by default that of the CSV, or the working directory for a DataFrame.
    bag: True where a cell names several images, as a list or with `;` between them; or a column, such as that of the study:
    the rows with one value of it become one row with all their images, which count together and in no order, of each view
    by themselves.
    window: of CT images, what is black and white: `lung`, `mediastinum`, `soft tissue`, `liver`, `bone`, `brain`, `stroke`, or
    (low, high) in Hounsfield units; by default -1000 to 1000. A model keeps it for what it predicts.
    mask: column with the path of a picture of what was marked in the image, such as a lesion: 0 is not marked, everything else is
    (PNG, as large as the image). Empty where nothing was. Only `attention_supervision` looks at it.
    boxes: the same as boxes around it, in pixels of the file from its left and top: a column whose cells are lists or JSON,
    `[[x0, y0, x1, y1], …]`, or four columns, `["x0", "y0", "x1", "y1"]`, of one box a row. Empty where nothing was marked.
    patient: column that tells patients apart; without it each row is a patient of its own.
    numeric, categorical: the columns to learn from. None is guessed: a column may give the target away.

    Raises CohortError, naming the column, value or file.
    """

    target: Target
    frame: pd.DataFrame
    name: str | None
    patient: str | None
    numeric: list[str]
    categorical: list[str]
    units: dict[str, str | None]
    image: str | dict[str, str] | None
    views: dict[str, str]
    bag: bool | str
    images: NDArray[np.object_]
    image_root: Path | None
    window: tuple[float, float] | None
    mask: str | None
    mask_paths: list[Path | None]
    boxes: str | list[str] | None
    box_places: list[Places]
    image_preprocessing: ImagePreprocessing
    table_preprocessing: TablePreprocessing
    best_auroc: dict[str, float] | None
    best_c_index: dict[str, float] | None
    _target: Values | None
    _names: dict[str, NDArray[np.object_]]
    _numbers: dict[str, NDArray[np.float64]]

    def __init__(
        self,
        table: str | os.PathLike[str] | pd.DataFrame,
        *,
        target: str | Sequence[str] | Mapping[str, Any] | Target,
        image: ImageColumns = None,
        image_root: str | os.PathLike[str] | None = None,
        bag: bool | str = False,
        window: str | tuple[float, float] | None = None,
        patient: str | None = None,
        numeric: Sequence[str] | None = None,
        categorical: Sequence[str] | None = None,
        mask: str | None = None,
        boxes: BoxColumns = None,
    ) -> None:
        build(
            self,
            table,
            target=target,
            image=image,
            image_root=image_root,
            bag=bag,
            window=window,
            patient=patient,
            numeric=numeric,
            categorical=categorical,
            mask=mask,
            boxes=boxes,
            target_required=True,
        )

    @classmethod
    def from_roles(
        cls,
        table: str | os.PathLike[str] | pd.DataFrame,
        roles: Mapping[str, Any],
        *,
        image_root: str | os.PathLike[str] | None = None,
        target_required: bool = True,
    ) -> Cohort:
        """A cohort with the column roles of another (`roles()`); with target_required=False one to predict for."""
        given = {**roles, **({} if image_root is None else {"image_root": image_root})}
        cohort = cls.__new__(cls)
        build(cohort, table, **given, target_required=target_required)
        return cohort

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return in_a_line(self)

    def _repr_html_(self) -> str:
        return html_of(self)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Values of a numeric column; NaN is missing, -inf and inf are beyond a detection limit."""
        return self._numbers[column]

    def names(self, column: str) -> NDArray[np.object_]:
        """Values of a column of names as text, None where missing."""
        return self._names[column]

    @property
    def image_paths(self) -> list[Path | None]:
        """The file of each place for an image, None where it is empty: those of a view follow one another, row by row."""
        paths: list[Path | None] = self.images.ravel().tolist()
        return paths

    @property
    def image_rows(self) -> NDArray[np.int64]:
        """The row of each of `image_paths`."""
        return np.broadcast_to(np.arange(len(self))[None, :, None], self.images.shape).ravel()

    @functools.cached_property
    def dimensions(self) -> int:
        """2 for images and 3 for volumes, by the first file that can be read."""
        return image_columns.dimensions_of(self.image_paths)

    @property
    def has_target(self) -> bool:
        """Whether the rows have a target: those of a cohort to predict for need none."""
        return self._target is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, grades or labels in the order of a model's outputs; none where the target is no class."""
        return self.target.classes if self._target is not None else ()

    @property
    def targets(self) -> Values:
        """What is learned: codes `(N,)` int64 of classes or grades; labels `(N, L)` float64 of 0, 1 and NaN where unknown; a
        number `(N,)` float64; or time and event `(N, 2)` float64; of several targets these side by side. Raises CohortError where
        the cohort is to predict for."""
        if self._target is None:
            raise CohortError("A cohort to predict for has no target.")
        return self._target

    @property
    def target_codes(self) -> NDArray[np.int64]:
        """Index into `classes` of each row. Raises CohortError where a row is not of one class."""
        if self.target.task not in ("classification", "ordinal"):
            raise CohortError(f"The target {self.target.name!r} is one of {self.target.task}: it has no classes.")
        return self.targets

    @functools.cached_property
    def patient_codes(self) -> NDArray[np.int64]:
        """A number for each row that is the same for rows of one patient."""
        if self.patient not in self._names:
            return np.arange(len(self), dtype=np.int64)
        return np.unique(self._names[self.patient].astype(str), return_inverse=True)[1].astype(np.int64)

    @property
    def num_patients(self) -> int:
        """Number of patients; of rows where no patient column is given."""
        return len(np.unique(self.patient_codes))

    @property
    def class_counts(self) -> dict[str, int]:
        """Rows by class or grade, positive rows by label, rows by quarter of a number, or events and censored rows."""
        return {} if self._target is None else self.target.distribution(self._target)

    def roles(self) -> dict[str, Any]:
        """Which column plays which role, and how it is preprocessed, as `from_roles` takes it."""
        return {
            "target": self.target.to_json(),
            "image": self.image,
            "image_root": None if self.image_root is None else str(self.image_root),
            "patient": self.patient,
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            **({"bag": self.bag} if self.bag is not False else {}),
            **({"mask": self.mask} if self.mask is not None else {}),
            **({"boxes": self.boxes} if self.boxes is not None else {}),
            **({"window": list(self.window)} if self.window is not None else {}),
            **{
                name: steps
                for name in ("image_preprocessing", "table_preprocessing")
                if (steps := getattr(self, name).to_json())
            },
        }

    def subset(self, rows: NDArray[np.int64]) -> Cohort:
        """The cohort of those rows (positions from 0), with the classes of this one."""
        part = self._alike()
        part.frame = self.frame.iloc[rows]
        part._target = None if self._target is None else self._target[rows]
        part._names = {column: values[rows] for column, values in self._names.items()}
        part._numbers = {column: values[rows] for column, values in self._numbers.items()}
        part.images = self.images[:, rows]
        part.mask_paths = [self.mask_paths[row] for row in rows]
        part.box_places = [self.box_places[row] for row in rows]
        return part

    def split(self, *, test: float = 0.2, val: float = 0.2, seed: int = 0) -> Split:
        """Split by patient into train, val and test, each with the same share of every class as near as patients allow: of
        every grade or label, of every range of a number, of events and censored rows.

        test, val: shares of the rows, each 0 or more and together below 1. Raises CohortError where there are too few
        patients for that.
        """
        from medfusion_jupyter.data.split import split_by_patient

        return split_by_patient(self, test=test, val=val, seed=seed)

    def split_by(self, column: str) -> Split:
        """The split that a column of the table gives, whose values are `train`, `val` and `test`, as with a published split.

        Rows without a value are in no part. Raises CohortError where a patient is in two parts.
        """
        from medfusion_jupyter.data.split import split_by_column

        return split_by_column(self, column)

    def check(
        self,
        split: Split | None = None,
        *,
        folds: int = 5,
        batch_size: int = 32,
        images: int = 2000,
        seed: int = 0,
        stop_at: StopAt = "never",
    ) -> Findings:
        """Look for what would make a model or its test wrong, before training; each finding has a severity and a fix.

        Asks whether patients or images are on two sides, whether a column or the way an image was taken gives the target away
        (cross-validated AUROC over patients), which columns are known only afterwards, and whether files, columns and classes
        are fit for training. split: looks for images that are in two of its parts. folds, batch_size: as you mean to train. Of a
        large cohort 20,000 rows and `images` image files are looked into, drawn by `seed`. All columns are looked at,
        for any could be listed under numeric or categorical next. stop_at: raise CheckFailed at a finding that is an `error`, or
        at a `warning` too; by default all are only told.
        """
        from medfusion_jupyter.data.checks import check_cohort

        found = check_cohort(self, split, folds=folds, batch_size=batch_size, images=images, seed=seed)
        found.stop_at(stop_at)
        return found

    @functools.cached_property
    def fingerprint(self) -> str:
        """Tells this cohort from one with other values, columns or images (by name and size)."""
        return fingerprint_of(self)

    def save(self, name: str, description: str = "") -> Cohort:
        """Keep the cohort under `name` in the store's datasets, with its fingerprint; its images stay where they are."""
        store = open_store()  # says where the home cannot be used
        self.name = name
        folder = home() / "datasets" / self.fingerprint
        self.write(folder)
        store.datasets.save(
            name,
            data_path=str(folder),
            fingerprint=self.fingerprint,
            num_samples=len(self),
            num_patients=self.num_patients,
            num_classes=len(self.classes),
            class_distribution=self.class_counts,
            description=description,
        )
        return self

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the columns that are used and their roles; `Cohort.read` gives the cohort back.

        The card comes last, so that a folder that has one is whole. In a folder named by the fingerprint the table is the same.
        """
        write_cohort(self, Path(folder))

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Cohort:
        """The cohort that `write` kept. Raises CohortError where it is not there."""
        return read_cohort(Path(folder))

    @classmethod
    def load(cls, name: str) -> Cohort:
        """The cohort that was kept under `name` by `save`. Raises UnknownId with the newest names, CohortError."""
        return cls.read(open_store().datasets.get_by_name(name).data_path)

    def filter(
        self,
        column: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        one_of: Sequence[str] | None = None,
        keep_missing: bool = False,
    ) -> Cohort:
        """The rows whose value in a column of the table is within bounds, or one of some, as text.

        keep_missing: rows without a value too. Raises CohortError for a column that is not there, and where no row is left.
        """
        from medfusion_jupyter.data.filtering import rows_where

        rows = rows_where(self, column, at_least=at_least, at_most=at_most, one_of=one_of, keep_missing=keep_missing)
        return self._of_frame(self.frame.iloc[rows])

    def derive(self, name: str, formula: str) -> Cohort:
        """The cohort with one more numeric column to learn from, made of others: `cohort.derive("ratio", "crp / ldh")`.

        formula: of numeric columns of the table, numbers, + - * / ** and log, log10, exp, sqrt, abs, minimum, maximum. A result
        that is no number, such as x / 0, counts as missing. Whoever predicts later needs the column in the new table too.
        Raises CohortError for a formula that cannot be read, and a name that is taken.
        """
        from medfusion_jupyter.data.formula import computed

        if name in self.frame.columns:
            raise CohortError(f"There is a column {name!r} already: give the new one another name.")
        return self._of_frame(self.frame.assign(**{name: computed(formula, self.frame)}), numeric=[*self.numeric, name])

    def preprocess_images(self, *, window: str | tuple[float, float] | None = None, **settings: Any) -> Cohort:
        """The cohort with images that go through these steps before a model sees them; what is not named stays as it was.

        crop: `foreground` (the box of what is not as dark as its darkest, which is black or air), the share of each side to keep
        around the centre, or (left, top, right, bottom) as shares of width and height. window: of CT, as of Cohort. clahe: limit
        of the contrast in each of 8 x 8 tiles, 1 to 40; True is 2. resize: `stretch`, or `pad` with black, which keeps the
        proportions. normalise: by the mean and standard deviation of the training part (`training`), of each image (`image`), of
        ImageNet (`imagenet`), or (mean, standard deviation) as shares of the full range.

        A model keeps the steps for what it predicts, masks and boxes are cropped and resized as their images are. Of volumes the
        crop (to the foreground or a share), the window and normalise are possible. Raises CohortError for what is not allowed
        or does not fit the images.
        """
        made = self._alike()
        try:
            made.image_preprocessing = self.image_preprocessing.with_settings(settings)
        except ValueError as refused:
            raise CohortError(str(refused)) from None
        refuse_unfit(made.image_preprocessing, self)
        if window is not None:
            made.window = ends_of(window)
            image_columns.refuse_window(made.window, self.image_paths)
        return made

    def preprocess_table(self, **settings: Any) -> Cohort:
        """The cohort with a table that is encoded so; what is not named stays as it was.

        impute: what stands for a missing number: `median`, `mean` or a number. indicators: whether a column each says where it is
        missing and beyond a detection limit. outliers: share of the values at either end that are held at the quantile there.
        scale: `standard`, `robust` (median and interquartile range) or `quantile` (ranks, as a normal distribution). clip:
        largest scaled number. rare: categories in fewer rows become one, which also stands for those never seen.

        What this takes of the values is learned from the training part alone and kept with the model. Raises CohortError for
        what is not allowed.
        """
        if not (self.numeric or self.categorical):
            raise CohortError(
                "The cohort has neither numeric nor categorical columns: there is no table to preprocess."
            )
        made = self._alike()
        try:
            made.table_preprocessing = self.table_preprocessing.with_settings(settings)
        except ValueError as refused:
            raise CohortError(str(refused)) from None
        return made

    def _alike(self) -> Cohort:
        made = Cohort.__new__(Cohort)
        made.__dict__.update({k: v for k, v in self.__dict__.items() if k not in _COMPUTED})
        return made

    def _of_frame(self, frame: pd.DataFrame, **roles: Any) -> Cohort:
        cohort = Cohort.from_roles(frame.reset_index(drop=True), {**self.roles(), **roles})
        cohort.name = self.name
        cohort.units |= {column: unit for column, unit in self.units.items() if unit is not None}
        return cohort


_COMPUTED = ("dimensions", "patient_codes", "fingerprint")
