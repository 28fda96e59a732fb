"""Run every benchmark, or those that are named, and write what they print to RESULTS.md; the others stay as they are there."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOT_A_BENCHMARK = {"run_all.py", "rounds.py", "peer.py", "serving.py", "filling.py", "tiny_model.py"}
TITLE = "# Benchmarks\n\nWritten by `make bench`. Compare ratios within a table; absolute figures are of one machine.\n"


def section(script: Path) -> str:
    """What the benchmark asks and what it prints."""
    print(f"== {script.name}", flush=True)
    out = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    said = out.stdout if out.returncode == 0 else f"did not run: {out.stderr.strip().splitlines()[-1]}\n"
    print(said, flush=True)
    question = (script.read_text(encoding="utf-8").split('"""')[1]).strip()
    return f"{question}\n\n{said}"


if __name__ == "__main__":
    results = HERE / "RESULTS.md"
    there = results.read_text(encoding="utf-8").split("\n## ")[1:] if results.exists() else []
    kept = dict(part.split("\n", 1) for part in there)
    scripts = {script.name: script for script in sorted(HERE.glob("*.py")) if script.name not in NOT_A_BENCHMARK}
    chosen = sys.argv[1:] or list(scripts)
    parts = {name: section(script) if name in chosen else kept.get(name) for name, script in scripts.items()}
    text = "".join(f"\n## {name}\n\n{part.strip()}\n" for name, part in parts.items() if part is not None)
    results.write_text(TITLE + text, encoding="utf-8")
