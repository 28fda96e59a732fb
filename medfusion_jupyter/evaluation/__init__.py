"""What a trained model is worth on a part of its cohort."""

from medfusion_jupyter.evaluation.evaluate import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
