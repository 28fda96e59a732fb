"""What nodes gave, kept by the content of their settings and inputs, so that the same work is not done twice.

In memory the values themselves; on the disk, under the home's cache, those that have a lasting form: a model is its job.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from medfusion_jupyter.data import Cohort, Split
from medfusion_jupyter.data.pixel_cache import look_of
from medfusion_jupyter.evaluation import Evaluation
from medfusion_jupyter.metrics import Interval
from medfusion_jupyter.store import JobStatus, home, open_store
from medfusion_jupyter.store.durable_files import write_json
from medfusion_jupyter.training import CrossValidation, Job, Model, load_cross_validation
from medfusion_jupyter.workflows.catalogue import NodeType, Work
from medfusion_jupyter.workflows.identity import identity_of

log = logging.getLogger("medfusion")

FORMAT = 3
IN_MEMORY = 128
"""The outputs of so many nodes are kept in memory, the latest used."""


@dataclass(frozen=True)
class Kept:
    """What a node gave by output port, and what it noted of itself. work: held, so that its identity stays its own."""

    values: Mapping[str, Any]
    noted: dict[str, Any] = field(default_factory=dict)
    work: Work | None = None


class Outputs:
    """What nodes gave, by key. Of one process, with what lasts on the disk."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Kept | None:
        """What was kept under `key`, from memory or from the disk; None where it is not there any more."""
        with self._lock:
            here = _path(key)
            if here in self._kept:
                self._kept.move_to_end(here)
                return self._kept[here]
        card = _card(key)
        if card.get("values") is None:
            return None
        try:
            values = {port: _read(value) for port, value in card["values"].items()}
        except Exception as error:  # whatever is gone or damaged is made again
            log.debug("What is kept of a node under %s cannot be used: %s", key, error)
            return None
        return Kept(values, card.get("noted", {}))

    def put(self, key: str, kept: Kept) -> None:
        """Keep what a node gave."""
        with self._lock:
            self._kept[_path(key)] = kept
            self._kept.move_to_end(_path(key))
            while len(self._kept) > IN_MEMORY:
                self._kept.popitem(last=False)
        lasting = {port: _lasting(value) for port, value in kept.values.items()}
        if lasting and None not in lasting.values():
            _write(key, {"values": lasting, "noted": kept.noted})

    def begun(self, key: str, facts: Mapping[str, Any]) -> None:
        """Keep what a later run needs to go on with the node."""
        _write(key, {"begun": dict(facts)})

    def earlier(self, key: str) -> dict[str, Any]:
        """What `begun` kept."""
        begun: dict[str, Any] = _card(key).get("begun", {})
        return begun


outputs = Outputs()
"""What the nodes of this process gave."""


def key_of(node_type: NodeType, settings: BaseModel, inputs: Mapping[str, list[str]]) -> str:
    """The same for the same work on the same content, by the same version of the project. inputs: the digests of the values
    of each port.
    """
    # what was set tells a wish from a default, and the defaults may be others in the next cell
    asked = [_json_of(settings), settings.model_dump(mode="json")]
    return _hash(
        [FORMAT, _version(), node_type.name, identity_of(node_type.work()), asked, dict(sorted(inputs.items()))]
    )


def digest_of(value: Any, fallback: str) -> str:
    """Tells a value from one with other content; `fallback` for what does not say of itself what it holds."""
    if isinstance(value, Cohort):
        # the fingerprint knows of an image its name and size: those of one camera are all of one size
        paths = [*value.image_paths, *(value.mask_paths if value.mask else [])]
        files = [look_of(path) for path in paths if path is not None]
        return _hash(["cohort", value.fingerprint, _hash_of_frame(value.frame), value.name, files])
    if isinstance(value, Split):
        rows = {part: hashlib.sha256(rows.tobytes()).hexdigest() for part, rows in value.rows.items()}
        return _hash(["split", digest_of(value.cohort, ""), rows])
    if isinstance(value, Model) and value.job_id is not None:
        return _hash(["model", value.job_id, value.epoch])
    if isinstance(value, CrossValidation):
        return _hash(["cross_validation", value.job_id])
    if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        try:
            return _hash([type(value).__qualname__, _json_of(value)])
        except (TypeError, ValueError):
            return fallback
    if value is None or isinstance(value, str | int | float | bool):
        return _hash([type(value).__name__, value])
    return fallback


@cache
def _version() -> str:
    return version("medfusion-jupyter")


def _hash_of_frame(frame: pd.DataFrame) -> str:
    try:
        hashed = pd.util.hash_pandas_object(frame, index=False)
    except TypeError:  # cells that are lists or the like
        hashed = pd.util.hash_pandas_object(frame.astype(str), index=False)
    return _hash([list(map(str, frame.columns)), hashlib.sha256(hashed.to_numpy().tobytes()).hexdigest()])


def _json_of(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    return asdict(value)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _path(key: str) -> Path:
    return home() / "cache" / "workflows" / f"{key}.json"


def _card(key: str) -> dict[str, Any]:
    try:
        card = json.loads(_path(key).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return card if isinstance(card, dict) and card.get("format") == FORMAT else {}


def _write(key: str, facts: Mapping[str, Any]) -> None:
    try:
        write_json(_path(key), {"format": FORMAT, **_card(key), **facts})
    except (OSError, TypeError, ValueError) as error:
        log.warning("What a node gave could not be kept on the disk, and will be made again: %s", error)


def _lasting(value: Any) -> dict[str, Any] | None:
    if isinstance(value, Model) and value.job_id is not None:
        return {"kind": "model", "job_id": value.job_id, "epoch": value.epoch}
    if isinstance(value, CrossValidation):
        return {"kind": "cross_validation", "job_id": value.job_id}
    if isinstance(value, Evaluation):
        return {"kind": "evaluation", **asdict(value)}
    return None


def _read(card: Mapping[str, Any]) -> Any:
    readers: dict[str, Callable[..., Any]] = {
        "model": _model,
        "cross_validation": load_cross_validation,
        "evaluation": _evaluation,
    }
    return readers[card["kind"]](**{name: value for name, value in card.items() if name != "kind"})


def _model(job_id: str, epoch: int) -> Model:
    status = open_store().jobs.get(job_id).status
    model = Job(job_id).model
    if model.epoch != epoch or status not in (JobStatus.COMPLETED, JobStatus.STOPPED):
        raise LookupError(f"{job_id} has been trained on since")
    return model


def _evaluation(metrics: dict[str, Any], labels: dict[str, Any], **facts: Any) -> Evaluation:
    intervals = ({name: Interval(**one) for name, one in each.items()} for each in (metrics, labels))
    return Evaluation(metrics=next(intervals), labels=next(intervals), **facts)
