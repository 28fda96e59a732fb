"""What learns: encoders, aggregators, fusions and heads, one registry each, and their assembly.

To add a part, write a class that keeps the contract of its file and decorate it with the registry there, for example
`@fusions.register("my_fusion")`; it can then be named in `mf.train(fusion="my_fusion")`.
"""

from medfusion_jupyter.nn import (  # noqa: F401  (importing them registers their parts)
    bilinear_fusions,
    ft_transformer,
    light_cnn,
    monai_encoders,
    regression_heads,
    token_fusions,
    torchvision_encoders,
)
from medfusion_jupyter.nn.bags import Aggregator, aggregators
from medfusion_jupyter.nn.encoded import Encoded
from medfusion_jupyter.nn.fusion_model import Architecture, FusionModel
from medfusion_jupyter.nn.fusions import Fusion, fusions
from medfusion_jupyter.nn.heads import Head, heads
from medfusion_jupyter.nn.image_encoders import ImageEncoder, image_encoders
from medfusion_jupyter.nn.multi_task import MultiTask, Task
from medfusion_jupyter.nn.pretrained import WeightsError
from medfusion_jupyter.nn.registry import Registry, UnknownPart
from medfusion_jupyter.nn.survival_heads import SurvivalHead
from medfusion_jupyter.nn.table_encoders import TableEncoder, table_encoders

__all__ = [
    "Aggregator",
    "Architecture",
    "Encoded",
    "Fusion",
    "FusionModel",
    "Head",
    "ImageEncoder",
    "MultiTask",
    "Registry",
    "SurvivalHead",
    "TableEncoder",
    "Task",
    "UnknownPart",
    "WeightsError",
    "aggregators",
    "fusions",
    "heads",
    "image_encoders",
    "table_encoders",
]
