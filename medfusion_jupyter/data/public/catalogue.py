"""Which public cohorts there are, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

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

GRADED = ("retinamnist",)
"""Sets whose classes are grades: of RetinaMNIST those of diabetic retinopathy."""


@dataclass(frozen=True)
class PublicCohort:
    """An entry of the catalogue. cite: whom to name; make: downloads what is not there yet and gives the cohort."""

    name: str
    rows: int
    target: str
    licence: str
    cite: str
    make: Callable[[], Cohort]


def public_cohorts() -> pd.DataFrame:
    """The cohorts that `public_cohort(name)` downloads: name, rows, target, licence and whom to cite."""
    import pandas as pd

    columns = ("name", "rows", "target", "licence", "cite")
    return pd.DataFrame([{column: getattr(entry, column) for column in columns} for entry in catalogue().values()])


def public_cohort(name: str) -> Cohort:
    """Download a public cohort, or take it from an earlier time, and say its licence.

    name: one of `public_cohorts()`, as `pneumoniamnist` (28 pixels a side), `pneumoniamnist_64` or `hannover-cxr`. A download
    that was broken off goes on where it stopped; what arrives is compared with the checksum of its authors. MedMNIST's official
    split is `cohort.split_by("split")`. Raises CohortError for an unknown name, without a connection and for a wrong checksum.
    """
    entries = catalogue()
    if name not in entries:
        raise CohortError(
            f"There is no public cohort {name!r}.{closest(name, entries)} mf.public_cohorts() lists all; MedMNIST's sets of "
            "volumes and of several labels an image are not among them: mf.read_medmnist(path) reads their files."
        )
    entry = entries[name]
    cohort = entry.make()
    cohort.name = name
    print(f"{name}: licence {entry.licence}. Cite {entry.cite}.")
    return cohort


def catalogue() -> dict[str, PublicCohort]:
    """All entries by name."""
    sets = json.loads(resources.files(__package__).joinpath("medmnist.json").read_text(encoding="utf-8"))
    entries = [
        PublicCohort("hannover-cxr", 243, "icu", "CC BY 3.0", HANNOVER, lambda: hannover(home() / "cache" / "public"))
    ]
    for name, about in sets.items():
        for side, md5 in about["md5"].items():
            entries.append(
                PublicCohort(
                    name=name if side == "28" else f"{name}_{side}",
                    rows=sum(about["rows"].values()),
                    target=f"{len(about['labels'])} {'grades' if name in GRADED else 'classes'}",
                    licence=about["licence"],
                    cite=MEDMNIST,
                    make=_medmnist(
                        name if side == "28" else f"{name}_{side}", md5, about["labels"], ordinal=name in GRADED
                    ),
                )
            )
    return {entry.name: entry for entry in entries}


def _medmnist(name: str, md5: str, labels: list[str], *, ordinal: bool) -> Callable[[], Cohort]:
    def make() -> Cohort:
        path = home() / "cache" / "public" / f"{name}.npz"
        download(f"{ZENODO}/{name}.npz?download=1", path, checksum=f"md5:{md5}")
        return read_medmnist(path, labels=labels, ordinal=ordinal)

    return make
