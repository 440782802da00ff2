"""The quickstart with several seeds: accuracy of each group, mean and spread, and wall time.

python benchmarks/seeds.py [--seeds 0 1 2] [OVERRIDES]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def run(seed: int, overrides: list[str]) -> tuple[dict[str, dict[str, dict[str, float]]], float]:
    """Results of the mini task by condition and group, and seconds from command to report."""
    folder = Path("runs", "seeds", f"{seed}-{time.strftime('%H%M%S')}")
    started = time.time()
    command = [sys.executable, "-m", "interleave.cli", "train", "experiment=quickstart", f"seed={seed}"]
    subprocess.run([*command, f"run={folder}", *overrides], check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "results.json").read_text())["results"]["mini"], time.time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_args()
    runs = [run(seed, asked.overrides) for seed in asked.seeds]
    print("| group | " + " | ".join(f"seed {s}" for s in asked.seeds) + " | mean | blank | reversed | chance |")
    print("|---|" + "--:|" * (len(runs) + 4))
    for group, first in runs[0][0]["as it is"].items():
        scores = [100 * results["as it is"][group]["accuracy"] for results, _ in runs]
        controls = [
            statistics.mean(100 * results[c][group]["accuracy"] for results, _ in runs if group in results[c])
            for c in ("blank", "reversed")
        ]
        cells = [*scores, statistics.mean(scores), *controls, 100 * first["chance"]]
        print(f"| {group} | " + " | ".join(f"{x:.1f}" for x in cells) + " |")
    print("| seconds | " + " | ".join(f"{s:.0f}" for _, s in runs) + " | | | | |")


if __name__ == "__main__":
    main()
