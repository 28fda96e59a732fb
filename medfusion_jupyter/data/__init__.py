"""What is learned from: cohorts, their split by patient, the encoding of their table and the decoding of their images.

Start at `cohort.py`. `augment.py` and `batches.py` are the only modules here that import torch.
"""

from medfusion_jupyter.data.cohort import Cohort
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.folds import Fold, folds_by_patient
from medfusion_jupyter.data.pixel_cache import PixelCache
from medfusion_jupyter.data.split import Split
from medfusion_jupyter.data.synthetic import synthetic_cohort
from medfusion_jupyter.data.table_encoding import TableArrays, TableEncoder

__all__ = [
    "Cohort",
    "CohortError",
    "Fold",
    "PixelCache",
    "Split",
    "TableArrays",
    "TableEncoder",
    "folds_by_patient",
    "synthetic_cohort",
]
