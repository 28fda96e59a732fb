"""What lies in a dataset's folder: a table and its roles, read without pandas, so that the server can."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medfusion_jupyter.store.errors import BadValue

CARD, TABLE = "cohort.json", "table.csv"
SHOWN_VALUES = 20
"""A column of more different values is told of by their number alone: it may hold identifiers."""


def describe(folder: Path) -> dict[str, Any]:
    """fingerprint, num_samples, num_patients, num_classes and class_distribution of the cohort in `folder`.

    The fingerprint is that of the card; of a card without one, the SHA-256 of card and table. Classes are counted here;
    of another target than one column of classes the card tells the distribution. Raises BadValue.
    """
    card = _card(folder)
    roles = card["roles"]
    columns = _target_columns(roles["target"])
    classes: Counter[str] = Counter()
    patients: set[str] = set()
    rows = 0
    for row in _rows(folder):
        rows += 1
        classes[row.get(columns[0]) or ""] += 1
        if not set(columns) <= row.keys():
            raise BadValue(f"{folder / TABLE}: the target {', '.join(map(repr, columns))} is not among its columns.")
        if roles.get("patient"):
            patients.add(row.get(roles["patient"]) or "")
    if not rows:
        raise BadValue(f"{folder / TABLE} has no row.")
    of_classes = isinstance(roles["target"], str)
    if of_classes and (not roles["target"] or "" in classes):
        raise BadValue(f"{folder / TABLE}: the target {roles['target']!r} is not a column with a value in each row.")
    return {
        "fingerprint": card.get("fingerprint") or _digest(folder),
        "num_samples": rows,
        "num_patients": len(patients) if patients else rows,
        "num_classes": len(classes) if of_classes else len(card["classes"]),
        "class_distribution": dict(sorted(classes.items())) if of_classes else card["class_distribution"],
    }


def analyzed(folder: Path) -> dict[str, Any]:
    """What each column of the cohort in `folder` holds, and how many images are on the disk. Raises BadValue.

    A numeric column: minimum, quartiles, mean, standard deviation, maximum; one of names: its most frequent values, where
    they are few. Of the patient and the image column only numbers are told.
    """
    roles = _card(folder)["roles"]
    columns: dict[str, list[str]] = {}
    for row in _rows(folder):
        for name, value in row.items():
            columns.setdefault(name, []).append(value or "")
    images = _image_columns(roles)
    numeric, secret = set(roles.get("numeric") or ()), {roles.get("patient"), roles.get("bag"), *images}
    out = []
    for name, values in columns.items():
        there = [value for value in values if value]
        told: dict[str, Any] = {
            "name": name,
            "role": _role(name, roles),
            "missing": len(values) - len(there),
            "distinct": len(set(there)),
        }
        if name in numeric:
            told |= _numbers(there)
        elif name not in secret and told["distinct"] <= SHOWN_VALUES:
            told["values"] = dict(Counter(there).most_common())
        out.append(told)
    found = {"rows": len(next(iter(columns.values()), [])), "columns": out}
    root = roles.get("image_root")
    if images and root:
        cells = [cell for column in images for cell in columns.get(column, ())]
        names = [name.strip() for cell in cells for name in cell.split(";")] if roles.get("bag") else cells
        found["images"] = _images(names, Path(root))
    return found


def place_of_images(folder: Path) -> tuple[str | None, Path | None]:
    """The name of the cohort in `folder`, and where its images lie; None where its card does not say."""
    try:
        card = _card(folder)
    except BadValue:
        return None, None
    root = card["roles"].get("image_root")
    return card.get("name"), Path(root) if root and _image_columns(card["roles"]) else None


def _numbers(texts: list[str]) -> dict[str, Any]:
    numbers = []
    for text in texts:
        try:
            number = float(text)
        except ValueError:
            continue
        if math.isfinite(number):
            numbers.append(number)
    if len(numbers) < 2:
        return {"count": len(numbers)}
    low, median, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return {
        "count": len(numbers),
        "min": min(numbers),
        "quartiles": [low, median, high],
        "max": max(numbers),
        "mean": statistics.fmean(numbers),
        "standard_deviation": statistics.stdev(numbers),
    }


def _images(names: list[str], root: Path) -> dict[str, int]:
    there = 0
    listed: dict[Path, set[str]] = {}
    for name in filter(None, names):
        path = root / name
        if ".." in path.parts or not path.is_relative_to(root):
            continue  # it is not looked at what lies outside
        if path.parent not in listed:
            try:
                files = [entry.name for entry in path.parent.iterdir()]
            except OSError:
                files = []
            listed[path.parent] = {*files, *(file.rsplit(".", 1)[0] for file in files)}
        there += path.name in listed[path.parent]
    named = sum(1 for name in names if name)
    return {"named": named, "found": there, "absent": named - there}


def _image_columns(roles: dict[str, Any]) -> list[str]:
    """The image column, or those of the views."""
    image = roles.get("image")
    return list(image.values()) if isinstance(image, dict) else [] if image is None else [image]


def _role(name: str, roles: dict[str, Any]) -> str:
    if name in _target_columns(roles["target"]):
        return "target"
    if name in _image_columns(roles):
        return "image"
    for role in ("patient", "bag"):
        if roles.get(role) == name:
            return role
    return "numeric" if name in (roles.get("numeric") or ()) else "categorical"


def _card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads(_regular(folder / CARD).read_text(encoding="utf-8"))
        roles = card["roles"]
        right = (
            all(isinstance(column, str) and column for column in _target_columns(roles["target"]))
            and (isinstance(roles["target"], str) or _is_distribution(card["classes"], card["class_distribution"]))
            and all(isinstance(roles.get(role), str | None) for role in ("patient", "image_root"))
            and all(isinstance(column, str) for column in _image_columns(roles))
            and isinstance(roles.get("bag"), str | bool | None)
            and all(isinstance(name, str) for name in roles.get("numeric") or ())
            and isinstance(card.get("fingerprint"), str | None)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadValue(
            f"There is no readable cohort in {folder} ({type(error).__name__}: {error}): cohort.write(folder) makes one."
        ) from None
    if not right:
        raise BadValue(f"{folder / CARD} is not the description of a cohort: a value of it has the wrong type.")
    return dict(card)


def _target_columns(target: Any) -> list[Any]:
    """The columns of a target as a cohort's card has it: a column, a list of them, a description of column, labels, or time and
    event, or the descriptions of several."""
    if isinstance(target, dict) and isinstance(target.get("targets"), dict):
        return [column for part in target["targets"].values() for column in _target_columns(part)] or [None]
    if isinstance(target, dict) and isinstance(target.get("labels"), list):
        return target["labels"] or [None]
    if isinstance(target, dict):
        return [target[role] for role in ("column", "time", "event") if role in target] or [None]
    return (list(target) or [None]) if isinstance(target, list) else [target]


def _is_distribution(classes: Any, counts: Any) -> bool:
    return (
        isinstance(classes, list)
        and all(isinstance(name, str) for name in classes)
        and isinstance(counts, dict)
        and all(isinstance(count, int) for count in counts.values())
    )


def _regular(path: Path) -> Path:
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is no regular file")  # who reads from a pipe may wait for ever
    return path


def _rows(folder: Path) -> Iterator[dict[str, str | None]]:
    try:
        with open(_regular(folder / TABLE), encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                row.pop(None, None)  # cells beyond the header
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadValue(f"{folder / TABLE} cannot be read: {error}.") from None


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (CARD, TABLE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:24]
