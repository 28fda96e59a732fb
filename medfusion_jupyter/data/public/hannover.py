"""The Hannover COVID-19 radiographs: chest films of patients with laboratory values, and whether they came to intensive care."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from medfusion_jupyter.data.cohort import Cohort
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.image_files import UNREADABLE
from medfusion_jupyter.data.public.download import download

SOURCE = "https://raw.githubusercontent.com/ml-workgroup/covid-19-image-repository/master"
TABLE = "sha256:f49e0d93a3162d318475a640fa3274d9d852b781c05edcd4f7055575ecc0537b"


def hannover(cache: Path) -> Cohort:
    """The 243 films of 71 patients. target: `icu`, whether the patient was in intensive care at some time.

    The table is compared with its checksum. Its authors give none for the films; each is decoded, which checks the sums that PNG
    has of its own parts.
    """
    folder = cache / "hannover-cxr"
    download(f"{SOURCE}/data.csv", folder / "data.csv", checksum=TABLE, quiet=True)
    frame = pd.read_csv(folder / "data.csv", dtype={"patient_id": str, "image_id": str})
    frame["icu"] = frame["icu_admission_offset"].notna().map({True: "yes", False: "no"})
    with ThreadPoolExecutor(8) as pool:
        films = pool.map(partial(_film, folder), frame["image_id"])
        for _ in tqdm(films, total=len(frame), desc="hannover-cxr: films", unit="film"):
            pass
    return Cohort(
        frame,
        target="icu",
        image="image_id",
        image_root=folder / "png",
        patient="patient_id",
        numeric=[column for column in map(str, frame) if column.endswith("_val")],
        categorical=["sex"],
    )


def _film(folder: Path, image: str) -> None:
    path = folder / "png" / f"{image}.png"
    if path.exists():
        return
    # decoded under another name: what is at its place is whole
    arriving = folder / "arriving" / path.name
    download(f"{SOURCE}/png/{image}.png", arriving, checksum=None, quiet=True)
    try:
        with Image.open(arriving) as film:
            film.load()
    except UNREADABLE as error:
        arriving.unlink()
        raise CohortError(f"The film {image}.png arrived damaged ({error}). Ask for the cohort again.") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    arriving.replace(path)
