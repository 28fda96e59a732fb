"""How the output of a node is shown beside it, as a bundle of MIME types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 300_000
"""A longer text is not shown: it is kept with the node's run in the database."""
TEXT = 500


def preview_of(values: Mapping[str, Any]) -> dict[str, str] | None:
    """`{"text/html": …}` or `{"text/plain": …}` of the last output that can show itself; None where there is none.

    What shows itself must hold no names of patients, as nothing of the project does.
    """
    for value in reversed(list(values.values())):
        show = getattr(value, "_repr_html_", None)
        if show is not None and not isinstance(value, type):
            try:
                html = show()
            except Exception:  # anyone's code: a picture is not worth a failed node
                continue
            if isinstance(html, str) and len(html) <= MOST:
                return {"text/html": html}
        elif type(value).__module__.startswith("medfusion_jupyter"):
            return {"text/plain": repr(value)[:TEXT]}
    return None
