"""DICOM files: rescaled to their unit, bright where the film is bright, with the spacing and the window that the file gives."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.readers.medical_image import ImageError, MedicalImage, range_of
from medfusion_jupyter.data.readers.registry import Plane

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

CT_RANGE = (-1000.0, 1000.0)
"""Hounsfield units shown from black to white where a CT file gives no window: from air to dense bone."""

DECODERS = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or pip install python-gdcm"


def read(path: Path) -> MedicalImage:
    """A file, or a folder with the files of one series."""
    if path.is_dir():
        from medfusion_jupyter.data.readers.dicom_series import read_series

        return read_series(path)
    return image_of(path.name, open_file(path))


def is_volume(path: Path) -> bool:
    """Whether it is a folder, or a file with several frames."""
    return path.is_dir() or int(open_file(path, pixels=False).get("NumberOfFrames") or 1) > 1


def channels(path: Path) -> int:
    """How many values each place has: 3 of colours."""
    return 1 if path.is_dir() else 3 if _is_coloured(open_file(path, pixels=False)) else 1


def plane(path: Path) -> Plane:
    """The header of a file with one frame."""
    if path.is_dir():
        raise ImageError(
            f"{path.name} is a folder, which is a DICOM series, and so a volume; a 2D image is needed. Name one of its files."
        )
    header = open_file(path, pixels=False)
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(
            f"{path.name} has {frames} frames; a 2D image is needed. Save the frame that matters as a file of its own; "
            "mf.read_image(path) reads all."
        )
    if "Rows" not in header or "Columns" not in header:
        raise without_image(path.name, header)
    coloured = _is_coloured(header)
    return Plane(
        size=(int(header.Rows), int(header.Columns)),
        channels=3 if coloured else 1,
        deep=not coloured and int(header.get("BitsStored", 16)) > 8,
        spacing=spacing_of(header),
        kind=kind_of(header),
    )


def open_file(path: Path, *, pixels: bool = True, name: str | None = None) -> FileDataset:
    """The file's elements. name: what errors call it, by default its own. Raises ImageError where it is not whole."""
    import pydicom

    name = name or path.name
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except pydicom.errors.InvalidDicomError:
        raise ImageError(f"{name} is not DICOM: it lacks the letters DICM after 128 bytes.") from None
    except OSError as error:
        raise ImageError(
            f"{name} cannot be read: {error.strerror or error}. Copy it anew from where it came."
        ) from error
    except Exception as error:  # pydicom raises what its parsing met: KeyError, struct.error, AttributeError, …
        raise ImageError(f"{name} is cut short or damaged ({error}). Copy it anew from where it came.") from error


def image_of(name: str, file: FileDataset) -> MedicalImage:
    """The image of an opened file, with all its frames. name: what errors call the file."""
    raw = _stored(name, file)
    coloured = raw.ndim >= 3 and raw.shape[-1] == 3 and _is_coloured(file)
    if coloured:
        values = np.moveaxis(raw.astype(np.float32), -1, 0)
        white = float(np.iinfo(raw.dtype).max) if np.issubdtype(raw.dtype, np.integer) else 1.0
        return MedicalImage(values, _spatial(file, values), None, "stored", (0.0, white), kind_of(file))
    values, window = _grey(file, raw)
    return MedicalImage(values[None], _spatial(file, values[None]), None, unit_of(file), window, kind_of(file))


def is_of_image(file: FileDataset) -> bool:
    """Whether the file says that it holds an image, whatever is left of it: a report or a presentation state holds none."""
    from pydicom.uid import UID

    return "Image Storage" in UID(str(file.file_meta.get("MediaStorageSOPClassUID", ""))).name


def without_image(name: str, file: FileDataset) -> ImageError:
    """What is wrong with a file that ends before its image, or has none."""
    if is_of_image(file):
        return ImageError(f"{name} is cut short: it ends before its image. Copy it anew from where it came.")
    return ImageError(f"{name} is DICOM without an image (its modality is {file.get('Modality', 'not given')}).")


def _stored(name: str, file: FileDataset) -> NDArray[Any]:
    """The stored values, decompressed; colours as red, green, blue."""
    import pydicom.pixels

    syntax = getattr(file.file_meta, "TransferSyntaxUID", None)
    if syntax is None:
        raise ImageError(f"{name} does not say how its pixels are stored (transfer syntax). Export it anew.")
    if "PixelData" not in file and "FloatPixelData" not in file:
        raise without_image(name, file)
    if syntax.is_compressed:
        try:
            there = pydicom.pixels.get_decoder(syntax).is_available
        except NotImplementedError:
            there = False
        if not there:
            raise ImageError(
                f"{name} is compressed as {syntax.name} ({syntax}), and no decoder for it is installed: {DECODERS}."
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values: NDArray[Any] = pydicom.pixels.pixel_array(file)
        if file.get("PhotometricInterpretation") == "PALETTE COLOR":
            values = pydicom.pixels.apply_color_lut(values, file)
        return values
    except Exception as error:  # a decoder raises what it met
        raise ImageError(
            f"The pixels of {name} ({syntax.name}) are cut short or damaged: {str(error).rstrip('.')}. Copy it anew from where "
            "it came."
        ) from error


def _grey(file: FileDataset, raw: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Values in their unit, and what is black and white among them; large is bright."""
    import pydicom.pixels

    values = np.asarray(pydicom.pixels.apply_modality_lut(raw, file), dtype=np.float32)
    window = _window(file)
    if window is None and "VOILUTSequence" in file and "ModalityLUTSequence" not in file:
        shown = pydicom.pixels.apply_voi_lut(values.astype(raw.dtype), file)
        values, window = np.asarray(shown, dtype=np.float32), (0.0, float(np.iinfo(shown.dtype).max))
    if window is None:
        window = CT_RANGE if unit_of(file) == "HU" else _range_of_bits(file, values)
    if file.get("PhotometricInterpretation") == "MONOCHROME1" and unit_of(file) != "HU":
        # the smallest value is white: mirrored in the window, the image looks as it was meant and large is bright
        values = (window[0] + window[1] - values).astype(np.float32)
    return values, window


def _window(file: FileDataset) -> tuple[float, float] | None:
    """Black and white by the first window of the file (DICOM PS3.3 C.11.2.1.2; a sigmoid's window is taken as a line)."""
    centre, width = (_first(file.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width < 1:
        return None
    if file.get("VOILUTFunction") == "LINEAR_EXACT":
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + max(width - 1, 1e-3) / 2


def _range_of_bits(file: FileDataset, values: NDArray[np.float32]) -> tuple[float, float]:
    """All that could be stored for projections, whose exposure means something; the values there are for MR and the like."""
    if file.get("Modality") in ("CR", "DX", "MG", "IO", "PX", "XA", "RF") and "BitsStored" in file:
        bits = int(file.BitsStored)
        signed = int(file.get("PixelRepresentation", 0)) == 1
        ends = np.asarray([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1], dtype=np.float64)
        slope, intercept = (_first(file.get(n)) for n in ("RescaleSlope", "RescaleIntercept"))
        ends = ends * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)
        return float(ends.min()), float(ends.max())
    return range_of(values)


def unit_of(file: FileDataset) -> str:
    """`HU` for a CT that says how its values are rescaled, else `stored`."""
    kind = str(file.get("RescaleType", "HU")).upper()
    return "HU" if file.get("Modality") == "CT" and "RescaleSlope" in file and kind in ("HU", "") else "stored"


def kind_of(file: FileDataset) -> str:
    """`DICOM` and the modality."""
    return f"DICOM {file.get('Modality', '')}".strip()


def spacing_of(file: FileDataset) -> tuple[float, float] | None:
    """mm between rows and between columns; for projections at the detector."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        value = file.get(name)
        if value is not None and len(value) == 2:
            return float(value[0]), float(value[1])
    return None


def _spatial(file: FileDataset, values: NDArray[np.float32]) -> tuple[float, ...] | None:
    within = spacing_of(file)
    if within is None or values.ndim == 3:
        return within
    between = _first(file.get("SpacingBetweenSlices")) or _first(file.get("SliceThickness"))
    return None if between is None else (between, *within)


def _is_coloured(file: FileDataset) -> bool:
    return int(file.get("SamplesPerPixel", 1)) == 3 or file.get("PhotometricInterpretation") == "PALETTE COLOR"


def _first(value: Any) -> float | None:
    """The first of several values of an element."""
    if value is None or value == "":
        return None
    if not isinstance(value, (str, bytes)) and hasattr(value, "__len__"):
        return float(value[0]) if len(value) else None
    return float(value)
