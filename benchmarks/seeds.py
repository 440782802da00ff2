"""The quickstart with several seeds: accuracy of each group, mean and spread, and wall time.

    python benchmarks/seeds.py [--seeds 0 1 2] [OVERRIDES]

OVERRIDES are those of ``interleave train``, such as trainer.max_steps=100.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

GroupScores = Mapping[str, float]
"""``accuracy`` and ``chance`` of a group, and what else the results have of it."""
Results = Mapping[str, Mapping[str, GroupScores]]
"""The results of the mini task by condition and group."""


def run(seed: int, overrides: Sequence[str]) -> tuple[Results, float]:
    """Results of one training, and seconds from command to report."""
    folder = Path("runs", "seeds", f"{seed}-{time.strftime('%H%M%S')}")
    started = time.time()
    command = [sys.executable, "-m", "interleave.cli", "train", "experiment=quickstart", f"seed={seed}"]
    subprocess.run([*command, f"run={folder}", *overrides], check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "results.json").read_text())["results"]["mini"], time.time() - started


def mean_accuracy(runs: Sequence[Results], condition: str, group: str) -> float:
    """Percent, over the runs whose results have the group under the condition."""
    having = [results for results in runs if group in results[condition]]
    return statistics.mean(100 * results[condition][group]["accuracy"] for results in having)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    runs: list[Results] = []
    seconds: list[float] = []
    for seed in arguments.seeds:
        results, spent = run(seed, arguments.overrides)
        runs.append(results)
        seconds.append(spent)
    print(
        "| group | " + " | ".join(f"seed {seed}" for seed in arguments.seeds) + " | mean | blank | reversed | chance |"
    )
    print("|---|" + "--:|" * (len(runs) + 4))
    for group, scores_of_first in runs[0]["as it is"].items():
        scores = [100 * results["as it is"][group]["accuracy"] for results in runs]
        controls = [mean_accuracy(runs, condition, group) for condition in ("blank", "reversed")]
        cells = [*scores, statistics.mean(scores), *controls, 100 * scores_of_first["chance"]]
        print(f"| {group} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    print("| seconds | " + " | ".join(f"{spent:.0f}" for spent in seconds) + " | | | | |")


if __name__ == "__main__":
    main()
