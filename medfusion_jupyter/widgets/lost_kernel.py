"""What a monitor shows when its kernel is gone: by styles alone, for nobody is left in the kernel who could change it."""

from __future__ import annotations

from medfusion_jupyter.store import ACTIVE

WORDS = (
    "This monitor has lost its kernel, which was restarted or is gone: what it shows is old. "
    "Run the cell again to see how the job stands, and to go on with it."
)

_LIVE = ".mf-state:is({})".format(", ".join(f".mf-{status}" for status in sorted(ACTIVE)))
_LOST = ".jupyter-widgets-disconnected"

STYLE = f"""<style>
.mf-monitor{_LOST}::before, .mf-monitor {_LOST}::before {{ content: none; }}
.mf-monitor{_LOST} .jupyter-button {{ opacity: 0.4; pointer-events: none; }}
.mf-monitor{_LOST} {_LIVE} {{ visibility: hidden; }}
.mf-monitor{_LOST}:has({_LIVE})::before {{
  content: "{WORDS}";
  display: block; margin: 4px 0; padding: 4px 10px; border-left: 3px solid var(--jp-warn-color1, #ef6c00);
  font: inherit; line-height: 1.5; color: inherit; white-space: normal;
}}
</style>"""
"""Of ipywidgets' own sign of a widget without a kernel, which is a broken chain at each button and line, nothing is left."""
