"""Which public cohorts there are, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.data.errors import CohortError, closest
from medfusion_jupyter.data.medmnist import read_medmnist
from medfusion_jupyter.data.public.download import download
from medfusion_jupyter.data.public.hannover import hannover
from medfusion_jupyter.store import home

if TYPE_CHECKING:
    import pandas as pd

    from medfusion_jupyter.data.cohort import Cohort

ZENODO = "https://zenodo.org/records/10519652/files"
MEDMNIST = "Yang et al., Scientific Data 10 (2023), doi:10.1038/s41597-022-01721-8"
HANNOVER = "Winther et al., COVID-19 Image Repository, doi:10.6084/m9.figshare.12275009"

OUTPUTS = {"classification": "classes", "multilabel": "labels", "ordinal": "grades"}
COLUMNS = ("name", "rows", "images", "task", "target", "licence", "cite")


@dataclass(frozen=True)
class PublicCohort:
    """An entry of the catalogue. images: their size and colour; task: the kind of target; cite: whom to name; make: downloads
    what is not there yet and gives the cohort."""

    name: str
    rows: int
    images: str
    task: str
    target: str
    licence: str
    cite: str
    make: Callable[[], Cohort]


def public_cohorts() -> pd.DataFrame:
    """The cohorts that `public_cohort(name)` downloads: name, rows, images, task, target, licence and whom to cite.

    MedMNIST's 18 sets of images and volumes, each in several sizes, and the Hannover radiographs. task is that of the target:
    classification, multilabel or ordinal.
    """
    import pandas as pd

    return pd.DataFrame([{column: getattr(entry, column) for column in COLUMNS} for entry in catalogue().values()])


def public_cohort(name: str) -> Cohort:
    """Download a public cohort, or take it from an earlier time, and say its licence.

    name: one of `public_cohorts()`, as `pneumoniamnist` (28 pixels a side), `pneumoniamnist_64`, `organmnist3d` (volumes) or
    `hannover-cxr`. A download that was broken off goes on where it stopped; what arrives is compared with the checksum of its
    authors. MedMNIST's official split is `cohort.split_by("split")`. Raises CohortError for an unknown name, without a
    connection and for a wrong checksum.
    """
    entries = catalogue()
    if name not in entries:
        raise CohortError(f"There is no public cohort {name!r}.{closest(name, entries)} mf.public_cohorts() lists all.")
    entry = entries[name]
    cohort = entry.make()
    cohort.name = name
    print(f"{name}: licence {entry.licence}. Cite {entry.cite}.")
    return cohort


def catalogue() -> dict[str, PublicCohort]:
    """All entries by name."""
    sets = json.loads(resources.files(__package__).joinpath("medmnist.json").read_text(encoding="utf-8"))
    hannover_cxr = PublicCohort(
        name="hannover-cxr",
        rows=243,
        images="films of several sizes, grey",
        task="classification",
        target="icu",
        licence="CC BY 3.0",
        cite=HANNOVER,
        make=lambda: hannover(home() / "cache" / "public"),
    )
    of_medmnist = [
        _medmnist(name if side == "28" else f"{name}_{side}", int(side), md5, about)
        for name, about in sets.items()
        for side, md5 in about["md5"].items()
    ]
    return {entry.name: entry for entry in (hannover_cxr, *of_medmnist)}


def _medmnist(name: str, side: int, md5: str, about: Mapping[str, Any]) -> PublicCohort:
    """A file of MedMNIST. md5 and what is known about its set are those of `medmnist/info.py`, 3.0.2, of its authors."""

    def make() -> Cohort:
        path = home() / "cache" / "public" / f"{name}.npz"
        download(f"{ZENODO}/{name}.npz?download=1", path, checksum=f"md5:{md5}")
        return read_medmnist(path, labels=about["labels"], ordinal=about["task"] == "ordinal")

    return PublicCohort(
        name=name,
        rows=sum(about["rows"].values()),
        images=f"{' × '.join([str(side)] * about['dimensions'])}, {'colour' if about['channels'] == 3 else 'grey'}",
        task=about["task"],
        target=f"{len(about['labels'])} {OUTPUTS[about['task']]}",
        licence=about["licence"],
        cite=MEDMNIST,
        make=make,
    )
