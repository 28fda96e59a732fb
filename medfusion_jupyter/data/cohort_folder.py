"""A cohort in a folder: the columns that are used, and a card with their roles."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.store.durable_files import write_json, write_text

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort

CARD, TABLE = "cohort.json", "table.csv"


def write_cohort(cohort: Cohort, folder: Path) -> None:
    """As `Cohort.write`."""
    card = {
        "name": cohort.name,
        "fingerprint": cohort.fingerprint,
        "best_auroc": cohort.best_auroc,
        "best_c_index": cohort.best_c_index,
        "roles": cohort.roles(),
        "classes": cohort.classes,
        "class_distribution": cohort.class_counts,
        "units": cohort.units,
    }
    if not (folder / TABLE).exists():
        write_text(folder / TABLE, _used(cohort).to_csv(index=False))
    write_json(folder / CARD, card)


def read_cohort(folder: Path) -> Cohort:
    """As `Cohort.read`."""
    from medfusion_jupyter.data.cohort import Cohort

    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CohortError(f"There is no readable cohort in {folder}: {error}.") from error
    cohort = Cohort.from_roles(folder / TABLE, card["roles"])
    cohort.name, cohort.best_auroc = card["name"], card["best_auroc"]
    cohort.best_c_index = card.get("best_c_index")
    cohort.units |= card.get("units", {})  # the table that is kept has numbers alone
    return cohort


def fingerprint_of(cohort: Cohort) -> str:
    """Tells a cohort from one with other values, columns or images (by name and size)."""
    digest = hashlib.sha256()
    table = _used(cohort)
    digest.update(json.dumps([cohort.roles() | {"image_root": None}, list(table.columns), len(table)]).encode())
    digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    files = [*cohort.image_paths, *(cohort.mask_paths if cohort.mask else [])]
    digest.update(json.dumps([_size(path) for path in files]).encode())
    return digest.hexdigest()[:24]


def _used(cohort: Cohort) -> pd.DataFrame:
    """The columns that play a role, as they were read."""
    target = cohort.target.to_columns(cohort.targets) if cohort.has_target else {}
    return pd.DataFrame({**target, **cohort._names, **cohort._numbers})


def _size(path: Path | None) -> list[Any] | None:
    try:
        return None if path is None else [path.name, path.stat().st_size]
    except OSError:
        return None
