"""Cohorts that anybody may download, with their licence: MedMNIST's sets and the Hannover radiographs.

`catalogue.py` says what there is, `download.py` brings files, `hannover.py` and `../medmnist.py` make cohorts of them.
"""

from medfusion_jupyter.data.public.catalogue import public_cohort, public_cohorts

__all__ = ["public_cohort", "public_cohorts"]
