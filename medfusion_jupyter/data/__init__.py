"""What is learned from: cohorts, their split by patient, the encoding of their table and the decoding of their images.

Start at `cohort.py`. `augment.py` and `batches.py` are the only modules here that import torch.
"""

from medfusion_jupyter.data.cohort import Cohort
from medfusion_jupyter.data.column_types import infer_columns
from medfusion_jupyter.data.dates import days_since
from medfusion_jupyter.data.dicom_folder import read_dicom_folder
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.folds import Fold, folds_by_patient
from medfusion_jupyter.data.medmnist import read_medmnist
from medfusion_jupyter.data.pixel_cache import PixelCache
from medfusion_jupyter.data.public import public_cohort, public_cohorts
from medfusion_jupyter.data.read_image import read_image
from medfusion_jupyter.data.readers import ImageError, MedicalImage
from medfusion_jupyter.data.split import Split
from medfusion_jupyter.data.synthetic import synthetic_cohort, synthetic_interaction, synthetic_survival
from medfusion_jupyter.data.table_encoding import TableArrays, TableEncoder
from medfusion_jupyter.data.target_of import target_of
from medfusion_jupyter.data.targets import Multilabel, Ordinal, Regression, Survival, Target

__all__ = [
    "Cohort",
    "CohortError",
    "Fold",
    "ImageError",
    "MedicalImage",
    "Multilabel",
    "Ordinal",
    "PixelCache",
    "Regression",
    "Split",
    "Survival",
    "TableArrays",
    "TableEncoder",
    "Target",
    "days_since",
    "folds_by_patient",
    "infer_columns",
    "public_cohort",
    "public_cohorts",
    "read_dicom_folder",
    "read_image",
    "read_medmnist",
    "synthetic_cohort",
    "synthetic_interaction",
    "synthetic_survival",
    "target_of",
]
