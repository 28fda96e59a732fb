"""Seconds that importing costs over a bare Python."""

import subprocess
import sys
import time

from rounds import environment, interleave, report

CODE = {
    "bare Python": "pass",
    "import medfusion": "import medfusion",
    "server extension": "import jupyter_server.extension.application, medfusion_jupyter.server.app",
    "jupyter_server alone": "import jupyter_server.extension.application",
    "import torch": "import torch",
}


def seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    print(environment("torch", "jupyter-server"))
    figures = interleave({name: (lambda code=code: seconds(code)) for name, code in CODE.items()}, rounds=9)
    report("Import", figures, against="bare Python", unit="s")
    bare = figures["bare Python"]
    over = sorted(a - b for a, b in zip(figures["import medfusion"], bare, strict=True))
    print(f"\n`import medfusion` over bare Python: {over[len(over) // 2] * 1000:.0f} ms (median of {len(over)} rounds)")
    over = sorted(a - b for a, b in zip(figures["server extension"], figures["jupyter_server alone"], strict=True))
    print(
        f"\nserver extension over jupyter_server: {over[len(over) // 2] * 1000:.0f} ms (median of {len(over)} rounds)"
    )
