"""Run every benchmark and write what they print to RESULTS.md."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOT_A_BENCHMARK = {"run_all.py", "rounds.py", "peer.py", "serving.py", "filling.py", "tiny_model.py"}

if __name__ == "__main__":
    parts = [
        "# Benchmarks\n\nWritten by `make bench`. Compare ratios within a table; absolute figures are of one machine.\n"
    ]
    for script in sorted(HERE.glob("*.py")):
        if script.name in NOT_A_BENCHMARK:
            continue
        print(f"== {script.name}", flush=True)
        out = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
        text = out.stdout if out.returncode == 0 else f"did not run: {out.stderr.strip().splitlines()[-1]}\n"
        print(text, flush=True)
        question = (script.read_text(encoding="utf-8").split('"""')[1]).strip()
        parts.append(f"\n## {script.name}\n\n{question}\n\n{text}")
    (HERE / "RESULTS.md").write_text("".join(parts), encoding="utf-8")
