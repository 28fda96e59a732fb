"""How a cohort shows itself in a notebook. Every text from the data is escaped; patients' ids and file names are not shown."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medfusion_jupyter.data.image_files import UNREADABLE, decode, kind_of

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort
    from medfusion_jupyter.data.split import Split

THUMBNAILS = 8
SIDE = 88
BARS = "▁▂▃▄▅▆▇█"
STYLE = """<style>
.mf-cohort { font-size: var(--jp-ui-font-size1, 13px); max-width: 760px; }
.mf-cohort table { border-collapse: collapse; margin: 6px 0; }
.mf-cohort th, .mf-cohort td { padding: 2px 12px 2px 0; text-align: left !important; font-variant-numeric: tabular-nums; }
.mf-cohort .mf-bar { display: inline-block; height: 9px; background: var(--jp-brand-color1, #1976d2); margin-right: 6px; }
.mf-cohort figure { display: inline-block; margin: 0 6px 6px 0; text-align: center; }
.mf-cohort img { width: 88px; height: 88px; object-fit: cover; image-rendering: auto; border-radius: 3px; }
.mf-cohort .mf-quiet { color: var(--jp-ui-font-color2, #666); }
</style>"""


def html_of(cohort: Cohort) -> str:
    """Rows, patients, classes, missing values and thumbnails."""
    title = html.escape(cohort.name or "cohort")
    facts = [f"{len(cohort):,} rows"]
    if cohort.patient is not None:
        facts.append(f"{cohort.num_patients:,} patients")
    if cohort.image is not None:
        readable = sum(path is not None for path in cohort.image_paths)
        facts.append(
            f"{readable:,} images" + (f", {len(cohort) - readable:,} missing" if readable < len(cohort) else "")
        )
    notes = []
    if cohort.patient is not None and cohort.num_patients < len(cohort):
        most = int(np.bincount(cohort.patient_codes).max())
        notes.append(f"Patients have up to {most} rows: a split keeps each on one side.")
    if cohort.best_auroc is not None:
        best = ", ".join(f"{name} {value:.3f}" for name, value in cohort.best_auroc.items())
        notes.append(f"Best possible AUROC: {best}.")
    if cohort.best_c_index is not None:
        best = ", ".join(f"{name} {value:.3f}" for name, value in cohort.best_c_index.items())
        notes.append(f"Best possible C index: {best}.")
    return (
        f"{STYLE}<div class='mf-cohort'><b>{title}</b> <span class='mf-quiet'>{' · '.join(facts)}</span>"
        f"{_target(cohort)}{_columns(cohort)}"
        + "".join(f"<div class='mf-quiet'>{html.escape(note)}</div>" for note in notes)
        + f"<div style='margin-top:6px'>{_thumbnails(cohort)}</div></div>"
    )


def html_of_split(split: Split) -> str:
    """Rows and patients of each part, and its share of each class, label or range of the target."""
    cohort = split.cohort
    strata = cohort.target.strata(cohort.targets)
    head = "".join(f"<th>{html.escape(one.name)}</th>" for one in strata)
    body = ""
    for part, rows in split.rows.items():
        counts = [int(one.rows[rows].sum()) for one in strata]
        cells = "".join(f"<td>{count:,} ({count / max(1, len(rows)):.0%})</td>" for count in counts)
        body += f"<tr><td>{part}</td><td>{len(rows):,}</td><td>{len(split.patients[part]):,}</td>{cells}</tr>"
    return (
        f"{STYLE}<div class='mf-cohort'><table><tr><th></th><th>rows</th><th>patients</th>{head}</tr>{body}</table>"
        "<div class='mf-quiet'>No patient is in two parts.</div></div>"
    )


def _target(cohort: Cohort) -> str:
    """A bar for each class, label or range; what is not known of labels, and the spread of times and numbers, beside it."""
    if not cohort.has_target:
        return ""
    rows = ""
    for name, count in cohort.class_counts.items():
        share = count / len(cohort)
        bar = f"<span class='mf-bar' style='width:{max(1, round(160 * share))}px'></span>"
        rows += f"<tr><td>{html.escape(name)}</td><td>{bar}{count:,} ({share:.0%})</td><td>{_unknown(cohort, name)}</td></tr>"
    task, values = cohort.target.task, cohort.targets
    spread = ""
    if task in ("regression", "survival"):
        numbers = values if task == "regression" else values[:, 0]
        spread = f"{_histogram(numbers)} {numbers.min():.4g} … {numbers.max():.4g}"
    return (
        f"<table><tr><th>{html.escape(cohort.target.name)}</th><th class='mf-quiet'>target, {task}</th>"
        f"<th class='mf-quiet'>{spread}</th></tr>{rows}</table>"
    )


def _unknown(cohort: Cohort, label: str) -> str:
    if cohort.target.task != "multilabel":
        return ""
    unknown = int(np.isnan(cohort.targets[:, cohort.classes.index(label)]).sum())
    return f"<span class='mf-quiet'>{unknown:,} unknown</span>" if unknown else ""


def _columns(cohort: Cohort) -> str:
    rows = ""
    for name in cohort.numeric:
        values = cohort.numbers(name)
        finite = values[np.isfinite(values)]
        span = f"{_histogram(finite)} {finite.min():.4g} … {finite.max():.4g}" if len(finite) else "no value"
        beyond = int(np.isinf(values).sum())
        note = f"{beyond:,} beyond the detection limit" if beyond else ""
        unit = cohort.units[name]
        rows += _column(name, f"number, {unit}" if unit else "number", float(np.isnan(values).mean()), span, note)
    for name in cohort.categorical:
        texts = cohort.names(name)
        there = [text for text in texts if text is not None]
        kinds, counts = np.unique(np.asarray(there, dtype=str), return_counts=True)
        most = np.argsort(-counts, kind="stable")[:4]
        shown = " · ".join(f"{kinds[k]} {counts[k]:,}" for k in most) + (" · …" if len(kinds) > 4 else "")
        rows += _column(name, "category", 1 - len(there) / len(texts), shown, "")
    if not rows:
        return ""
    return f"<table><tr><th>column</th><th>type</th><th>missing</th><th>values</th><th></th></tr>{rows}</table>"


def _column(name: str, kind: str, missing: float, values: str, note: str) -> str:
    return (
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(kind)}</td><td>{missing:.0%}</td><td>{html.escape(values)}</td>"
        f"<td class='mf-quiet'>{note}</td></tr>"
    )


def _histogram(values: np.ndarray) -> str:
    # by ranks of the outer percent: one extreme value would put all others into one bar
    low, high = np.percentile(values, [1, 99])
    counts, _ = np.histogram(values.clip(low, high), bins=7)
    return "".join(BARS[round(7 * count / counts.max())] for count in counts)


def _thumbnails(cohort: Cohort) -> str:
    there = [row for row, path in enumerate(cohort.image_paths) if path is not None]
    chosen = (
        [there[k] for k in np.linspace(0, len(there) - 1, min(THUMBNAILS, len(there))).astype(int)] if there else []
    )
    figures = ""
    for row in chosen:
        path = cohort.image_paths[row]
        picture = _picture(path) if path is not None else None
        if picture is not None:
            label = html.escape(_of_row(cohort, row)) if cohort.has_target else ""
            figures += (
                f"<figure><img alt='image of row {row}' src='data:image/jpeg;base64,{picture}'><br>{label}</figure>"
            )
    return figures


def _picture(path: Path) -> str | None:
    try:
        coloured, _ = kind_of(path)
        pixels = decode(path, size=SIDE, channels=3 if coloured else 1, deep=False)
    except UNREADABLE:
        return None
    if not coloured:
        # a 12-bit film in a 16-bit file would be black
        low, high = np.percentile(pixels, [0.5, 99.5])
        scaled = (pixels.astype(float) - low) / max(1.0, float(high - low)) * 255
        pixels = scaled.clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels[0] if not coloured else pixels.transpose(1, 2, 0)).save(out, "JPEG", quality=80)
    return base64.b64encode(out.getvalue()).decode()


def _of_row(cohort: Cohort, row: int) -> str:
    """The target of a row in a few words."""
    value = cohort.targets[row]
    if cohort.target.task in ("classification", "ordinal"):
        return str(cohort.classes[value])
    if cohort.target.task == "multilabel":
        return ", ".join(name for name, there in zip(cohort.classes, value, strict=True) if there == 1) or "–"
    if cohort.target.task == "survival":
        return f"{value[0]:.4g}{'' if value[1] else '+'}"
    return f"{value:.4g}"
