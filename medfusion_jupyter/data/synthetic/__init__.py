"""Cohorts whose best possible result is known: a ceiling to measure models against.

`arms.py` draws what is hidden and states the ceiling, `pictures.py` draws the images, `cohorts.py` makes cohorts of both.
"""

from medfusion_jupyter.data.synthetic.cohorts import synthetic_cohort, synthetic_interaction, synthetic_survival

__all__ = ["synthetic_cohort", "synthetic_interaction", "synthetic_survival"]
