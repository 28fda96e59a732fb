"""MedMNIST's `.npz` files as cohorts, with their official split.

Yang et al., "MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image classification", Scientific
Data 10 (2023).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from medfusion_jupyter.data.cohort import Cohort
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.split import PARTS
from medfusion_jupyter.data.targets import Ordinal
from medfusion_jupyter.store import home

FORMAT = 1
AT_ONCE = 1024
"""Images that are in memory at a time: the large files hold many GB."""


def read_medmnist(
    path: str | os.PathLike[str], *, labels: Sequence[str] | None = None, ordinal: bool = False
) -> Cohort:
    """A cohort of a MedMNIST file of images or volumes; `cohort.split_by("split")` is its official split.

    labels: names of the classes in the order of their numbers, by default the numbers; where an image has several labels of 0 and
    1, as in ChestMNIST, their names, by default `label_0` and so on. ordinal: the classes are grades, as in RetinaMNIST.

    The images are written as PNG files, volumes as `.npy`, under MEDFUSION_HOME, once. MedMNIST has no patients: rows of one
    patient cannot be told. Raises CohortError where the file is not one of MedMNIST and where labels or ordinal do not fit it.
    """
    path = Path(path).expanduser().absolute()
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise CohortError(f"There is no file {path}.") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise CohortError(f"{path.name} is not a whole .npz file: {error}. Download it again.") from error
    with archive:
        targets = {part: _labels(archive, path, part) for part in PARTS}
        widths = sorted({of_part.shape[1] for of_part in targets.values()})
        if len(widths) > 1:
            raise CohortError(
                f"{path.name} is not a MedMNIST file: its parts have {' and '.join(map(str, widths))} labels an image."
            )
        codes = np.concatenate([targets[part] for part in PARTS])
        read = _of_classes if codes.shape[1] == 1 else _of_labels
        columns, target = read(codes, path, labels, ordinal)
        folder = _folder(path)
        if not folder.exists():
            _write_images(archive, path, folder, {part: len(targets[part]) for part in PARTS})
    frame = pd.DataFrame(
        {
            "image": [f"{part}/{k:06d}" for part in PARTS for k in range(len(targets[part]))],
            **columns,
            "split": np.repeat(PARTS, [len(targets[part]) for part in PARTS]),
        }
    )
    cohort = Cohort(frame, target=target, image="image", image_root=folder)
    cohort.name = path.stem
    return cohort


def _of_classes(
    codes: NDArray[np.int64], path: Path, labels: Sequence[str] | None, ordinal: bool
) -> tuple[dict[str, Any], str | Ordinal | list[str]]:
    codes = codes[:, 0]
    names = [str(code) for code in range(int(codes.max()) + 1)] if labels is None else list(labels)
    if codes.min() < 0 or codes.max() >= len(names):
        wrong = codes.min() if codes.min() < 0 else codes.max()
        raise CohortError(
            f"{path.name} has the class {wrong}, but the labels are of the classes 0 to {len(names) - 1}."
        )
    target = Ordinal("label", classes=tuple(names)) if ordinal else "label"
    return {"label": np.asarray(names, dtype=object)[codes]}, target


def _of_labels(
    codes: NDArray[np.int64], path: Path, labels: Sequence[str] | None, ordinal: bool
) -> tuple[dict[str, Any], str | Ordinal | list[str]]:
    names = [f"label_{k}" for k in range(codes.shape[1])] if labels is None else list(labels)
    if ordinal:
        raise CohortError(f"ordinal=True is of one grade an image, and {path.name} has {len(names)} labels an image.")
    if len(names) != codes.shape[1] or len({*names, "image", "split"}) < len(names) + 2:
        raise CohortError(f"{path.name} has {codes.shape[1]} labels an image: give as many names, each another.")
    return {name: codes[:, k] for k, name in enumerate(names)}, names


def _folder(path: Path) -> Path:
    found = path.stat()
    key = hashlib.sha256(json.dumps([FORMAT, str(path), found.st_size, found.st_mtime_ns]).encode()).hexdigest()[:16]
    return home() / "cache" / "medmnist" / f"{path.stem}-{key}"


def _labels(archive: zipfile.ZipFile, path: Path, part: str) -> NDArray[np.int64]:
    """`(n, labels)`."""
    with _member(archive, path, f"{part}_labels") as file:
        shape, dtype = _header(file, path)
        if dtype.kind not in "iu" or len(shape) not in (1, 2):
            raise CohortError(
                f"The labels of {path.name} are {dtype} of shape {shape}, not whole numbers, one an image."
            )
        try:
            values = np.frombuffer(file.read(), dtype=dtype)
        except (zipfile.BadZipFile, EOFError) as error:
            raise CohortError(f"{path.name} is damaged: {error}. Download it again.") from error
    if len(values) != np.prod(shape) or not len(values):
        raise CohortError(f"The labels of {path.name} are cut short. Download it again.")
    return values.astype(np.int64).reshape(shape[0], -1)


def _write_images(archive: zipfile.ZipFile, path: Path, folder: Path, counts: dict[str, int]) -> None:
    """All into a folder of another name first, so that a folder that is there is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    try:
        with (
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            tqdm(total=sum(counts.values()), desc=f"{path.stem}: images", unit="image") as bar,
        ):
            for part in PARTS:
                (making / part).mkdir()
                done = 0
                for images in _images(archive, path, part, counts[part]):
                    names = [making / part / f"{done + k:06d}" for k in range(len(images))]
                    list(pool.map(_write_image, images, names))
                    done += len(images)
                    bar.update(len(images))
        os.replace(making, folder)
    except BaseException as error:
        shutil.rmtree(making, ignore_errors=True)
        if not isinstance(error, OSError) or not folder.exists():  # else another process was faster
            raise


def _write_image(image: NDArray[np.uint8], name: Path) -> None:
    if image.ndim == 3 and image.shape[2] != 3:
        np.save(name.with_suffix(".npy"), image)
    else:
        Image.fromarray(image).save(name.with_suffix(".png"))


def _images(archive: zipfile.ZipFile, path: Path, part: str, count: int) -> Iterator[NDArray[np.uint8]]:
    """`(n, H, W)`, `(n, H, W, 3)` or, volumes, `(n, D, H, W)` at a time."""
    with _member(archive, path, f"{part}_images") as file:
        shape, dtype = _header(file, path)
        if dtype != np.uint8 or len(shape) not in (3, 4):
            raise CohortError(
                f"{path.name} holds {dtype} of shape {shape}; MedMNIST has images and volumes of 8 bits. Choose another set."
            )
        if shape[0] != count:
            raise CohortError(
                f"{path.name} has {shape[0]} images and {count} labels in its part {part!r}. Download it again."
            )
        each = int(np.prod(shape[1:]))
        for start in range(0, count, AT_ONCE):
            wanted = min(AT_ONCE, count - start)
            try:
                content = file.read(wanted * each)
            except (zipfile.BadZipFile, EOFError) as error:
                raise CohortError(f"{path.name} is damaged: {error}. Download it again.") from error
            if len(content) != wanted * each:
                raise CohortError(f"The images of {path.name} are cut short. Download it again.")
            yield np.frombuffer(content, dtype=np.uint8).reshape(wanted, *shape[1:])


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> IO[bytes]:
    try:
        return archive.open(f"{name}.npy")
    except KeyError:
        raise CohortError(
            f"{path.name} is not a MedMNIST file: it has no {name}. An .npz with one image is read by mf.read_image(path)."
        ) from None


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise CohortError(f"{path.name} is damaged: {error}. Download it again.") from error
    if fortran or dtype.hasobject:
        raise CohortError(f"{path.name} is not a MedMNIST file: its arrays are stored in another way.")
    return shape, dtype
