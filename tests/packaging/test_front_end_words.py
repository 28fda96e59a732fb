"""The side panel has the words of Python, for what both say to people."""

import re
from pathlib import Path

from medfusion_jupyter.settings.watched import METRICS

SOURCES = Path(__file__).parents[2] / "labextension" / "src"


def test_metrics_are_called_the_same_and_in_the_same_order():
    written = (SOURCES / "format.ts").read_text(encoding="utf-8").split("const METRICS", 1)[1].split("};", 1)[0]
    words = [(name, words) for name, _, words in re.findall(r"^  (\w+): (['\"])(.*)\2,?$", written, re.MULTILINE)]
    assert words == [(name, metric.words) for name, metric in METRICS.items()]
