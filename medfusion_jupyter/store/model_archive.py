"""A model's files as one zip archive, out and in. Nothing of an archive is believed before it is looked at."""

from __future__ import annotations

import json
import shutil
import uuid
import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from medfusion_jupyter.store.durable_files import write_durably
from medfusion_jupyter.store.errors import BadValue, Elsewhere, StoreError
from medfusion_jupyter.store.location import home

WEIGHTS, CARD = "model.safetensors", "model.json"
MAX_CARD_BYTES = 10_000_000
MAX_INFLATION = 50
"""Weights hardly shrink: an archive that holds many times its size is meant to fill the disk."""


class BadArchive(BadValue):
    """An archive that is not one of a model."""


def pack(folder: Path) -> Path:
    """A zip archive of the model in `folder`, under the home's uploads; the caller deletes it. Raises Elsewhere, StoreError."""
    there = folder.resolve()
    if not there.is_relative_to((home() / "models").resolve()):
        raise Elsewhere(f"The model lies in {folder}, outside {home() / 'models'}: only what lies there is handed out.")
    target = home() / "uploads" / f"{uuid.uuid4().hex}.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name in (WEIGHTS, CARD):
                archive.write(there / name, name)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"The files of the model in {folder} cannot be read: {error}.") from error
        raise
    return target


def unpack(archive: Path) -> dict[str, Any]:
    """Check an archive, put its files under the home's models and say what `Models.register` needs. Raises BadArchive."""
    folder = home() / "models" / "uploaded" / uuid.uuid4().hex
    try:
        with zipfile.ZipFile(archive) as opened:
            _check_members(opened, archive.stat().st_size)
            for name in (WEIGHTS, CARD):
                write_durably(folder / name, lambda temporary, name=name: _extract(opened, name, temporary))  # type: ignore[misc]
        card = _card(folder / CARD)
        _check_weights(folder / WEIGHTS)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, zipfile.BadZipFile | NotImplementedError | RuntimeError | EOFError) and not isinstance(
            error, StoreError
        ):
            raise BadArchive(f"The request is no zip archive that can be read: {error}.") from None
        raise
    architecture = card["architecture"]
    return {
        "path": str(folder),
        "file_size": sum(file.stat().st_size for file in folder.iterdir()),
        "format": "safetensors",
        "backbone": architecture.get("image_encoder") or architecture.get("table_encoder") or "",
        "num_classes": architecture["num_classes"],
        "input_shape": [architecture["channels"], architecture["image_size"], architecture["image_size"]],
        "metrics": card["metrics"],
        "accuracy": card["metrics"].get("val/accuracy"),
        "loss": card["metrics"].get("val/loss"),
        "trained_epochs": card["epoch"],
    }


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    members = {info.filename: info for info in archive.infolist()}
    if set(members) != {WEIGHTS, CARD} or len(archive.infolist()) != 2:
        shown = ", ".join(sorted(members)[:5]) or "nothing"
        raise BadArchive(f"The archive holds {shown[:200]}; it must hold {WEIGHTS} and {CARD}, and nothing else.")
    if members[CARD].file_size > MAX_CARD_BYTES:
        raise BadArchive(f"{CARD} has {members[CARD].file_size:,} bytes; {MAX_CARD_BYTES:,} is the most.")
    if sum(info.file_size for info in members.values()) > MAX_INFLATION * size:
        raise BadArchive(f"The archive would unpack to more than {MAX_INFLATION} times its size.")


def _extract(archive: zipfile.ZipFile, name: str, target: Path) -> None:
    with archive.open(name) as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        architecture, metrics = card["architecture"], card["metrics"]
        right = (
            isinstance(metrics, dict)
            and all(isinstance(value, int | float | None) for value in metrics.values())
            and all(type(architecture[key]) is int and 0 <= architecture[key] < 2**31 for key in _NUMBERS)
            and all(isinstance(architecture.get(key), str | None) for key in ("image_encoder", "table_encoder"))
            and (card["epoch"] is None or (type(card["epoch"]) is int and 0 <= card["epoch"] < 2**31))
            and isinstance(card["input"], dict)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadArchive(
            f"{CARD} is not the description of a model ({type(error).__name__}: {str(error)[:200]})."
        ) from None
    if not right:
        raise BadArchive(f"{CARD} is not the description of a model: a value of it has the wrong type.")
    return dict(card)


_NUMBERS = ("num_classes", "channels", "image_size")


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="np") as weights:
            names = list(weights.keys())
    except (SafetensorError, OSError) as error:
        raise BadArchive(f"{WEIGHTS} is not in the safetensors format: {error}.") from None
    if not names:
        raise BadArchive(f"{WEIGHTS} holds no weights.")
