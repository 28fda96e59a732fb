"""What a prediction is worth, as numbers with intervals. Plain NumPy: no model, no store."""

from medfusion_jupyter.metrics.discrimination import UNDEFINED, Interval, accuracy, auroc, auroc_of_classes
from medfusion_jupyter.metrics.multilabel import auroc_of_labels, macro_auroc
from medfusion_jupyter.metrics.of_task import Judged, measure, measure_each, side_by_side
from medfusion_jupyter.metrics.ordinal import predicted_grades, quadratic_kappa
from medfusion_jupyter.metrics.regression import mae, r2, rmse, spearman
from medfusion_jupyter.metrics.resampling import mean_over_folds
from medfusion_jupyter.metrics.survival import brier_score, c_index, uno_c

__all__ = [
    "UNDEFINED",
    "Interval",
    "Judged",
    "accuracy",
    "auroc",
    "auroc_of_classes",
    "auroc_of_labels",
    "brier_score",
    "c_index",
    "macro_auroc",
    "mae",
    "mean_over_folds",
    "measure",
    "measure_each",
    "predicted_grades",
    "quadratic_kappa",
    "r2",
    "rmse",
    "side_by_side",
    "spearman",
    "uno_c",
]
