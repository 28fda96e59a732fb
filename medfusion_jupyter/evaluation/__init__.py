"""What a trained model is worth on a part of its cohort."""

from medfusion_jupyter.evaluation.ablation import Ablation, ablation, load_ablation
from medfusion_jupyter.evaluation.evaluate import Evaluation, evaluate

__all__ = ["Ablation", "Evaluation", "ablation", "evaluate", "load_ablation"]
