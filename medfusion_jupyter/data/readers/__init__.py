"""Readers of medical images: DICOM, NIfTI and arrays, one entry of the registry each. Pillow's formats are in `image_files.py`.

Each reader loads its library when it is first used.
"""

from medfusion_jupyter.data.readers.medical_image import ImageError, MedicalImage
from medfusion_jupyter.data.readers.registry import Plane, Reader, reader_of, suffixes

__all__ = ["ImageError", "MedicalImage", "Plane", "Reader", "reader_of", "suffixes"]
