"""DICOM files for the tests, written by pydicom itself."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_dicom(path, pixels, *, syntax=ExplicitVRLittleEndian, **elements):
    """Write `pixels` (H, W), (F, H, W) or (H, W, 3) of integers as a DICOM file; elements: by keyword, None leaves one out."""
    pixels = np.asarray(pixels)
    coloured = pixels.shape[-1] == 3 and pixels.dtype == np.uint8
    rows, columns = pixels.shape[-3:-1] if coloured else pixels.shape[-2:]
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = syntax
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = CTImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    bits = 8 * pixels.dtype.itemsize
    own = {
        "PatientName": "secret^name",
        "Modality": "CR",
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 3 if coloured else 1,
        "PhotometricInterpretation": "RGB" if coloured else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": elements.get("BitsStored", bits) - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if coloured:
        own["PlanarConfiguration"] = 0
    elif pixels.ndim == 3:
        own["NumberOfFrames"] = len(pixels)
    for name, value in {**own, **elements}.items():
        if value is not None:
            setattr(file, name, value)
    file.PixelData = pixels.tobytes()
    file["PixelData"].VR = "OW" if bits > 8 else "OB"
    file.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder, volume, *, gap=2.5, orientation=(1, 0, 0, 0, 1, 0), change=lambda k, elements: elements, **elements
):
    """Write `volume` (D, H, W), in HU, as the slices of a CT, whose names are in no order. change: of a slice's elements."""
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    normal = np.cross(orientation[:3], orientation[3:])
    names = np.random.default_rng(0).permutation(len(volume))
    for k, pixels in enumerate(volume):
        own = {
            "Modality": "CT",
            "SeriesInstanceUID": series,
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "RescaleType": "HU",
            "PixelSpacing": [0.5, 0.75],
            "ImageOrientationPatient": list(orientation),
            "ImagePositionPatient": list(normal * gap * k + [-100, -120, 30]),
        }
        write_dicom(
            folder / f"IM{names[k]:04d}",
            (np.asarray(pixels) + 1024).astype(np.uint16),
            **change(k, {**own, **elements}),
        )
    return folder
