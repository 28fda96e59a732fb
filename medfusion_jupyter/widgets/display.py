"""A job or ablation that a cell ends with shows itself as its monitor. Training knows nothing of widgets, so it is told here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def register(shell: InteractiveShell) -> None:
    """Tell the shell how to show a Job, a CrossValidation or an Ablation. Loads no widget until one is shown."""
    formatter = shell.display_formatter
    if formatter is not None:
        for module, name in (("job", "Job"), ("cross_validation", "CrossValidation")):
            formatter.mimebundle_formatter.for_type_by_name(f"medfusion_jupyter.training.{module}", name, _job)
        formatter.mimebundle_formatter.for_type_by_name("medfusion_jupyter.evaluation.ablation", "Ablation", _ablation)


def _job(job: Any, include: Any = None, exclude: Any = None) -> Any:
    from medfusion_jupyter.widgets.job_monitor import monitor

    return _shown(monitor(job.job_id), job, include, exclude)


def _ablation(ablation: Any, include: Any = None, exclude: Any = None) -> Any:
    from medfusion_jupyter.widgets.ablation_monitor import AblationMonitor

    return _shown(AblationMonitor(ablation), ablation, include, exclude)


def _shown(widget: Any, of: object, include: Any, exclude: Any) -> Any:
    shown = widget._repr_mimebundle_(include=include, exclude=exclude)
    data = shown[0] if isinstance(shown, tuple) else shown
    return {**data, "text/plain": repr(of)}
