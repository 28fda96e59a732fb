"""How a cohort shows itself in a notebook. Every text from the data is escaped; patients' ids and file names are not shown."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medfusion_jupyter.data.image_files import UNREADABLE, Window, decode, is_volume, kind_of
from medfusion_jupyter.data.image_steps import crop_of
from medfusion_jupyter.data.volumes import middle_slice
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing

if TYPE_CHECKING:
    from medfusion_jupyter.data.cohort import Cohort
    from medfusion_jupyter.data.split import Split
    from medfusion_jupyter.data.targets import Target, TaskValues

THUMBNAILS = 8
VOLUMES = 4
SIDE = 88
BARS = "▁▂▃▄▅▆▇█"
STYLE = """<style>
.mf-cohort { font-size: var(--jp-ui-font-size1, 13px); max-width: 800px; }
.mf-cohort table { border-collapse: collapse; margin: 6px 0; }
.mf-cohort th, .mf-cohort td { padding: 2px 12px 2px 0; text-align: left !important; font-variant-numeric: tabular-nums; }
.mf-cohort .mf-bar { display: inline-block; height: 9px; background: var(--jp-brand-color1, #1976d2); margin-right: 6px; }
.mf-cohort figure { display: inline-block; margin: 0 6px 6px 0; text-align: center; }
.mf-cohort img { width: 88px; height: 88px; object-fit: cover; image-rendering: auto; border-radius: 3px; }
.mf-cohort figure span { position: relative; display: inline-block; margin-right: 2px; }
.mf-cohort .mf-more { position: absolute; right: 3px; bottom: 3px; padding: 0 4px; border-radius: 3px; color: #fff;
  background: rgba(0, 0, 0, 0.65); font-size: 11px; }
.mf-cohort .mf-absent { width: 88px; height: 88px; line-height: 88px; vertical-align: top; border-radius: 3px;
  border: 1px dashed var(--jp-border-color1, #bdbdbd); color: var(--jp-ui-font-color2, #666); box-sizing: border-box; }
.mf-cohort .mf-quiet { color: var(--jp-ui-font-color2, #666); }
</style>"""


def in_a_line(cohort: Cohort) -> str:
    """Rows, patients, images of each view or in bags, columns and target: the text of a cohort."""
    shares = cohort.target.described(cohort.targets) if cohort.has_target else "not known"
    images = "".join(f", {said}" for said in _images(cohort))
    return (
        f"<Cohort {cohort.name or cohort.target.name}: {len(cohort)} rows of {cohort.num_patients} patients{images}, "
        f"{len(cohort.numeric)} numeric and {len(cohort.categorical)} categorical columns, {cohort.target.name}: {shares}>"
    )


def html_of(cohort: Cohort) -> str:
    """Rows, patients, classes, missing values and thumbnails."""
    title = html.escape(cohort.name or "cohort")
    facts = [f"{len(cohort):,} rows"]
    if cohort.patient is not None:
        facts.append(f"{cohort.num_patients:,} patients")
    facts += map(html.escape, _images(cohort))
    notes = [
        f"{what} preprocessed: {', '.join(f'{name} {value}' for name, value in steps.to_json().items())}."
        for what, steps in (("Images", cohort.image_preprocessing), ("Table", cohort.table_preprocessing))
        if steps.to_json()
    ]
    if cohort.window is not None:
        notes.append(f"CT is seen from {cohort.window[0]:,g} (black) to {cohort.window[1]:,g} HU (white).")
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
    """A table for each target."""
    if not cohort.has_target:
        return ""
    parts = cohort.target.by_part(cohort.targets)
    return "".join(_of_task(name, part) for name, part in parts.items() if part.rows.any())


def _of_task(name: str, part: TaskValues) -> str:
    """A bar for each class, label or range; what is not known, and the spread of times and numbers, beside it."""
    target, values, rows = part.target, part.values, ""
    title = f"{name}: {target.name}" if name else target.name
    for what, count in target.distribution(values).items():
        share = count / len(values)
        bar = f"<span class='mf-bar' style='width:{max(1, round(160 * share))}px'></span>"
        unknown = int(np.isnan(values[:, target.classes.index(what)]).sum()) if target.task == "multilabel" else 0
        rows += (
            f"<tr><td>{html.escape(what)}</td><td>{bar}{count:,} ({share:.0%})</td><td>{_unknown(unknown)}</td></tr>"
        )
    spread = _unknown(int((~part.rows).sum()))
    if target.task in ("regression", "survival"):
        numbers = values if target.task == "regression" else values[:, 0]
        spread = f"{_histogram(numbers)} {numbers.min():.4g} … {numbers.max():.4g} {spread}"
    return (
        f"<table><tr><th>{html.escape(title)}</th><th class='mf-quiet'>target, {target.task}</th>"
        f"<th class='mf-quiet'>{spread}</th></tr>{rows}</table>"
    )


def _unknown(count: int) -> str:
    return f"<span class='mf-quiet'>{count:,} unknown</span>" if count else ""


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


def _images(cohort: Cohort) -> list[str]:
    """How many images there are of each view, or in bags."""
    what = "volumes" if cohort.dimensions == 3 else "images"
    counts = (cohort.images != np.asarray(None)).sum(axis=2)
    said = []
    for view, of_row in zip(cohort.views, counts, strict=True):
        missing = int((of_row == 0).sum())
        name = "" if view == "image" else f"{view}: "
        bags = f" in bags of up to {of_row.max():,}" if cohort.bag else ""
        said.append(
            f"{name}{of_row.sum():,} {what}{bags}"
            + (f", {missing:,} row{'s' if missing > 1 else ''} without" if missing else "")
        )
    return said


def _thumbnails(cohort: Cohort) -> str:
    """Of some rows the image, or those of all views, the first of a bag, the middle slice of a volume."""
    there = np.flatnonzero((cohort.images != np.asarray(None)).any(axis=(0, 2)))
    # a volume is read whole to show one slice of it
    count = (VOLUMES if cohort.dimensions == 3 else THUMBNAILS) // max(1, len(cohort.views))
    chosen = there[np.linspace(0, len(there) - 1, min(max(1, count), len(there))).astype(int)].tolist()
    return "".join(_row(cohort, row) for row in chosen)


def _row(cohort: Cohort, row: int) -> str:
    pictures = ""
    for view, of_bag in zip(cohort.views, cohort.images[:, row], strict=True):
        files = [path for path in of_bag if path is not None]
        picture = _picture(files[0], cohort.window, cohort.image_preprocessing) if files else None
        name = "image" if view == "image" else f"image {view}"
        if picture is not None:
            alt = html.escape(f"{name} of row {row}", quote=True)
            more = f"<span class='mf-more'>+{len(files) - 1}</span>" if len(files) > 1 else ""
            pictures += f"<span><img alt='{alt}' src='data:image/jpeg;base64,{picture}'>{more}</span>"
        elif len(cohort.views) > 1:
            pictures += f"<span class='mf-absent'>no {html.escape(view)}</span>"
    label = html.escape(_of_row(cohort, row)) if cohort.has_target else ""
    return f"<figure>{pictures}<br>{label}</figure>" if "<img" in pictures else ""


def _picture(path: Path, window: Window, steps: ImagePreprocessing) -> str | None:
    """As a model sees it, without its normalisation."""
    try:
        coloured = False
        if is_volume(path):
            plane = middle_slice(path, window)[0]
            pixels = _square(plane[crop_of(plane[None], steps.crop)])
        else:
            coloured = kind_of(path)[0] == 3
            channels = 3 if coloured else 1
            pixels = decode(path, size=SIDE, channels=channels, deep=False, window=window, preprocessing=steps)
    except UNREADABLE:
        return None
    if not coloured and window is None:
        # a 12-bit film in a 16-bit file would be black
        low, high = np.percentile(pixels, [0.5, 99.5])
        scaled = (pixels.astype(float) - low) / max(1.0, float(high - low)) * 255
        pixels = scaled.clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels[0] if not coloured else pixels.transpose(1, 2, 0)).save(out, "JPEG", quality=80)
    return base64.b64encode(out.getvalue()).decode()


def _square(plane: np.ndarray) -> np.ndarray:
    """`(H, W)` from 0 to 1 -> `(1, SIDE, SIDE)` uint8."""
    small = Image.fromarray(plane.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    square: np.ndarray = np.rint(np.asarray(small).clip(0, 1) * 255).astype(np.uint8)[None]
    return square


def _of_row(cohort: Cohort, row: int) -> str:
    """The target of a row in a few words."""
    parts = cohort.target.by_part(cohort.targets[[row]])
    shown = {name: _in_words(part.target, part.values[0]) if part.rows[0] else "–" for name, part in parts.items()}
    return ", ".join(f"{name} {words}" if name else words for name, words in shown.items())


def _in_words(target: Target, value: Any) -> str:
    if target.task in ("classification", "ordinal"):
        return str(target.classes[value])
    if target.task == "multilabel":
        return ", ".join(name for name, there in zip(target.classes, value, strict=True) if there == 1) or "–"
    if target.task == "survival":
        return f"{value[0]:.4g}{'' if value[1] else '+'}"
    return f"{value:.4g}"
