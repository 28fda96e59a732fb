"""What the checks of a cohort found, and how it shows itself. No finding holds a patient's id or a file's name."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, overload

from medfusion_jupyter.data.errors import CohortError

if TYPE_CHECKING:
    import pandas as pd

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""`error`: what is trained or tested would be wrong. `warning`: it may be, look at it. `note`: good to know."""

StopAt = Literal["error", "warning", "never"]
"""The least severity that a check does not go on with."""

MOST_SHOWN = 10
"""So many findings are told in an error."""

STYLE = """<style>
.mf-checks { font-size: var(--jp-ui-font-size1, 13px); max-width: 860px; }
.mf-checks details { border-left: 4px solid var(--mf-severity); padding: 2px 0 2px 10px; margin: 5px 0; }
.mf-checks summary { cursor: pointer; }
.mf-checks .mf-error { --mf-severity: var(--jp-error-color1, #d32f2f); }
.mf-checks .mf-warning { --mf-severity: var(--jp-warn-color1, #f57c00); }
.mf-checks .mf-note { --mf-severity: var(--jp-info-color1, #1976d2); }
.mf-checks .mf-quiet { color: var(--jp-ui-font-color2, #666); }
</style>"""


@dataclass(frozen=True)
class Finding:
    """One thing to know before training.

    check: the question that was asked, such as `patients` or `shortcuts`; where: the column, part or images; what: the
    fact with its numbers; why: what it does to a model or its test; fix: what to do.
    """

    severity: Severity
    check: str
    where: str
    what: str
    why: str
    fix: str


class CheckFailed(CohortError):
    """What `cohort.check` found is of a severity that it was to stop at. findings: all that it found."""

    def __init__(self, findings: Findings, stop_at: Severity) -> None:
        grave = [one for one in findings if SEVERITIES.index(one.severity) <= SEVERITIES.index(stop_at)]
        shown = "\n".join(f"- {one.severity}: {one.where}: {one.what} {one.fix}" for one in grave[:MOST_SHOWN])
        more = f"\n- and {len(grave) - MOST_SHOWN} more" if len(grave) > MOST_SHOWN else ""
        super().__init__(
            f"The check of the cohort stops here, for stop_at={stop_at!r}:\n{shown}{more}\nMend them, or set stop_at='never' "
            "to go on nevertheless."
        )
        self.findings = findings


class Findings(Sequence[Finding]):
    """The findings of `cohort.check()`, the gravest first. A sequence; in a notebook it shows itself.

    looked_at: what the checks saw, for they take samples of large cohorts.
    """

    def __init__(self, findings: Iterable[Finding], looked_at: str) -> None:
        self._all = tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
        self.looked_at = looked_at

    @overload
    def __getitem__(self, at: int) -> Finding: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Finding]: ...

    def __getitem__(self, at: int | slice) -> Finding | Sequence[Finding]:
        return self._all[at]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._all)

    def of(self, check: str) -> list[Finding]:
        """Those of one check."""
        return [finding for finding in self if finding.check == check]

    @property
    def errors(self) -> list[Finding]:
        """Those that make what is trained or tested wrong."""
        return [finding for finding in self if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Those to look at before training."""
        return [finding for finding in self if finding.severity == "warning"]

    @property
    def notes(self) -> list[Finding]:
        """Those that are good to know."""
        return [finding for finding in self if finding.severity == "note"]

    def stop_at(self, severity: StopAt) -> None:
        """Raise CheckFailed where there is a finding of that severity or a graver one."""
        grave = {"error": self.errors, "warning": [*self.errors, *self.warnings], "never": []}
        if severity not in grave:
            raise CohortError(f"stop_at={severity!r} is no severity to stop at: choose one of {', '.join(grave)}.")
        if severity != "never" and grave[severity]:
            raise CheckFailed(self, severity)

    def to_frame(self) -> pd.DataFrame:
        """One row a finding, with the columns of Finding."""
        import pandas as pd

        return pd.DataFrame([asdict(finding) for finding in self], columns=list(Finding.__dataclass_fields__))

    def _counted(self) -> str:
        counts = [(len(getattr(self, f"{severity}s")), severity) for severity in SEVERITIES]
        found = ", ".join(f"{n} {severity}{'' if n == 1 else 's'}" for n, severity in counts if n)
        return found or "nothing found"

    def __repr__(self) -> str:
        lines = [f"{self._counted()} ({self.looked_at})"]
        for one in self:
            lines += [
                f"{one.severity.upper():7} {one.check}: {one.where}: {one.what}",
                f"        why: {one.why}",
                f"        fix: {one.fix}",
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        body = ""
        for one in self:
            opened = "" if one.severity == "note" else " open"
            body += (
                f"<details class='mf-{one.severity}'{opened}><summary><b>{html.escape(one.where)}</b> "
                f"{html.escape(one.what)} <span class='mf-quiet'>{one.severity} · {html.escape(one.check)}</span></summary>"
                f"<div>{html.escape(one.why)}</div><div><b>Fix:</b> {html.escape(one.fix)}</div></details>"
            )
        return (
            f"{STYLE}<div class='mf-checks'><b>{self._counted()}</b> "
            f"<span class='mf-quiet'>{html.escape(self.looked_at)}</span>{body}</div>"
        )
