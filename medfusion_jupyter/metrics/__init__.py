"""What a prediction is worth, as numbers with intervals. Plain NumPy: no model, no store."""

from medfusion_jupyter.metrics.discrimination import UNDEFINED, Interval, accuracy, auroc, auroc_of_classes
from medfusion_jupyter.metrics.patients import bootstrap_by_patient
from medfusion_jupyter.metrics.resampling import mean_over_folds

__all__ = ["UNDEFINED", "Interval", "accuracy", "auroc", "auroc_of_classes", "bootstrap_by_patient", "mean_over_folds"]
