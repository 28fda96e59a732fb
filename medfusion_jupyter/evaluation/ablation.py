"""What each modality and each fusion adds: one cross-validation each, over the same folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.data import Cohort, target_of
from medfusion_jupyter.evaluation.ablation_view import html_of
from medfusion_jupyter.nn import fusions
from medfusion_jupyter.settings.training import OF_IMAGES
from medfusion_jupyter.settings.watched import names_of
from medfusion_jupyter.store import FINISHED, BadValue, JobStatus
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.cross_validation import CrossValidation, cross_validate
from medfusion_jupyter.training.fitting import fitted
from medfusion_jupyter.training.starting import JobFailed
from medfusion_jupyter.training.waiting import Awaited, Progress

if TYPE_CHECKING:
    import pandas as pd

IMAGE_ONLY, TABLE_ONLY = "image only", "table only"
WITHOUT_IMAGES = ("image_weights", "cache_features", *OF_IMAGES)
"""Settings that a model without images refuses."""

BESIDE = ("low", "high", "above", "above_low", "above_high")
"""The numbers of a variant beside its metric."""


class Ablation(Awaited):
    """Cross-validations of variants of a model, over the same folds. In a notebook it shows its table.

    Everything is read from the store, so `mf.load_ablation` gives it back in another process, from its ids. `wait` raises
    JobFailed where a variant failed or was interrupted.
    """

    def __init__(self, variants: Mapping[str, CrossValidation]) -> None:
        self.variants = dict(variants)

    def __repr__(self) -> str:
        ended = sum(one.status in FINISHED for one in self.variants.values())
        return f"<Ablation of {len(self.variants)} variants, {ended} ended: {', '.join(self.job_ids)}>"

    def _repr_html_(self) -> str:
        return html_of(self.table, self.metrics[0])

    @property
    def job_ids(self) -> list[str]:
        """The jobs that stand for the cross-validations, for `mf.load_ablation`."""
        return [one.job_id for one in self.variants.values()]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that variants can be compared by; `table` takes the first."""
        first = next(iter(self.variants.values()))
        return names_of(target_of(first.record.data_config["target"]).tasks)

    @property
    def table(self) -> pd.DataFrame:
        """One row a variant: the mean over its folds of the target's first metric (such as `auroc`, `mae` or `c_index`), and how
        much it is above that of the first variant.

        low, high: the 95 % interval of the corrected resampled t-test; above, above_low, above_high: the mean difference to the
        first variant, paired by fold, with its interval; folds: how many trainings are in it; job: its id; status. NaN
        where no fold is completed yet.
        """
        return self.table_of(self.metrics[0])

    def table_of(self, metric: str) -> pd.DataFrame:
        """As `table`, by another of `metrics`. Raises BadValue for one that the target does not have."""
        import pandas as pd

        if metric not in self.metrics:
            raise BadValue(f"The variants cannot be compared by {metric!r}; take one of {', '.join(self.metrics)}.")
        first = next(iter(self.variants.values()))
        columns = (metric, *BESIDE, "folds", "status", "job")
        return (
            pd.DataFrame(
                {name: _row(one, first, metric) for name, one in self.variants.items()}, index=pd.Index(columns)
            )
            .T.rename_axis("variant")
            .astype(dict.fromkeys((metric, *BESIDE), float) | {"folds": int})
        )

    def _progress(self) -> Progress:
        records = {name: one.record for name, one in self.variants.items()}
        ended = sum(record.status in FINISHED for record in records.values())
        failures = [
            f"{name!r} ({record.job_id}) {record.status}: {record.error or 'see its folds'}"
            for name, record in records.items()
            if record.status in (JobStatus.FAILED, JobStatus.INTERRUPTED)
        ]
        words = f"{ended} of {len(records)} variants ended"
        return Progress(
            share=sum(record.progress for record in records.values()) / len(records),
            words=words,
            state=words,
            ended=ended == len(records),
            failed=JobFailed("\n".join(failures)) if failures else None,
        )

    def stop(self) -> None:
        """End what is at work and begin nothing more; completed folds stay as they are."""
        for one in self.variants.values():
            if one.status not in FINISHED:
                one.stop()


def _row(one: CrossValidation, first: CrossValidation, metric: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys((metric, *BESIDE), float("nan"))
    record = one.record
    row |= {"folds": 0, "status": str(record.status), "job": one.job_id}
    if not record.folds_done:
        return row
    found = one.metrics.to_dict("index")[metric]
    row |= {metric: found["mean"], "low": found["low"], "high": found["high"], "folds": int(found["folds"])}
    if one is not first and first.record.folds_done:
        above = one.difference(first, metric)
        row |= {"above": above.value, "above_low": above.low, "above_high": above.high}
    return row


def ablation(
    cohort: Cohort,
    variants: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None,
    *,
    folds: int = 5,
    repeats: int = 1,
    seeds: Sequence[int] | None = None,
    detach: bool = False,
    **settings: Any,
) -> Ablation:
    """Cross-validate variants of a model over the same folds; returns at once.

    variants: what is changed in each, by name, such as `{"focal": {"head": "focal"}, "plain": {}}`; or names of fusions; by
    default the image alone, the table alone and every fusion. The first is what the others are compared with. folds,
    repeats, seeds, detach: as of `mf.cross_validate`. settings: those of `mf.train`, which all variants share.

    With freeze=["image_encoder"] and augment=False the features of the images are computed once a fold for all variants,
    and each training takes seconds. Raises ConfigError and CohortError as `mf.cross_validate` does; nothing is stored then.
    """
    chosen = _variants(cohort, variants, settings)
    name = settings.pop("name", None) or cohort.name or cohort.target.name
    for each in chosen.values():  # a mistake in the last is said before the first is stored
        fitted(TrainingConfig.of(each), cohort.target.tasks)
    return Ablation(
        {
            label: cross_validate(
                cohort, folds, repeats, seeds=seeds, detach=detach, name=f"{name[:150]}: {label}", **each
            )
            for label, each in chosen.items()
        }
    )


def load_ablation(*job_ids: str) -> Ablation:
    """The ablation of those cross-validations, the first being what the others are compared with."""
    return Ablation({(one := CrossValidation(job_id)).record.name.rpartition(": ")[2]: one for job_id in job_ids})


def _variants(
    cohort: Cohort, variants: Mapping[str, Mapping[str, Any]] | Sequence[str] | None, settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    if isinstance(variants, Mapping):
        changes = {label: dict(change) for label, change in variants.items()}
    else:
        if cohort.image is None or not (cohort.numeric or cohort.categorical):
            raise ConfigError(
                "The cohort has images or a table alone: there is no fusion to compare. Give the variants by name, such as "
                "variants={'plain': {}, 'focal': {'head': 'focal'}}."
            )
        names = list(fusions) if variants is None else list(variants)
        changes = {IMAGE_ONLY: {"tabular_encoder": None}, TABLE_ONLY: {"image_encoder": None}}
        changes |= {fusion: {"fusion": fusion} for fusion in names}
    if not changes:
        raise ConfigError("variants is empty: name one or more.")
    return {label: _without_what_is_missing({**settings, **change}) for label, change in changes.items()}


def _without_what_is_missing(settings: dict[str, Any]) -> dict[str, Any]:
    """Shared settings without those of an encoder that this variant does without."""
    gone = [part for part in ("image_encoder", "tabular_encoder") if settings.get(part, "") is None]
    kept = {
        name: value for name, value in settings.items() if "image_encoder" not in gone or name not in WITHOUT_IMAGES
    }
    if "freeze" in kept:
        kept["freeze"] = [part for part in kept["freeze"] if part.split(".")[0] not in gone]
        if not kept["freeze"]:
            kept.pop("unfreeze_epoch", None)
    if isinstance(kept.get("unfreeze_epoch"), dict):
        kept["unfreeze_epoch"] = {part: at for part, at in kept["unfreeze_epoch"].items() if part in kept["freeze"]}
    return kept
