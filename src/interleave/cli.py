"""The command line: the only place where a user's error becomes one line. Imports nothing heavy before it must."""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Command = Callable[[Sequence[str]], int | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; 2 for what the user can mend, with one line on standard error."""
    parser = argparse.ArgumentParser(
        prog="interleave",
        description="Train, evaluate and talk to models that read text interleaved with visuals.",
        epilog="interleave train --help shows what can be composed; interleave chat --help the ways to ask.",
    )
    parser.add_argument("command", choices=COMMANDS, help="; ".join(f"{n}: {c.__doc__}" for n, c in COMMANDS.items()))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="overrides, or what the command takes")
    asked = parser.parse_args(argv)
    _quieten()
    from .core.errors import InputError

    try:
        return COMMANDS[asked.command](asked.arguments) or 0
    except InputError as error:
        print(f"interleave: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _quieten() -> None:
    """Leave the terminal to what the user asked for."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # loader workers fork after the tokenizer was used
    warnings.filterwarnings("ignore", module=r"lightning\.|torch\.")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)


def run_train(arguments: Sequence[str]) -> None:
    """train a composed experiment"""
    from .compose import run

    run("train", arguments, _train)


def _train(config: Mapping[str, Any]) -> None:
    """Imported once a config is composed, so that an error in it takes no ten seconds to show."""
    from .training.train import train

    train(config)


def run_evaluate(arguments: Sequence[str]) -> None:
    """score a run on tasks"""
    from .compose import run

    run("eval", arguments, _evaluate)


def _evaluate(config: Mapping[str, Any]) -> None:
    from .evaluation.evaluate import evaluate_run

    evaluate_run(config)


def run_plan(arguments: Sequence[str]) -> None:
    """say what a run will take, before it runs"""
    from .plan.plan_command import plan_command

    plan_command(arguments)


def run_score(arguments: Sequence[str]) -> None:
    """score a result file of any project"""
    from .scoring.score_command import score_command

    score_command(arguments)


def run_report(arguments: Sequence[str]) -> None:
    """put the results of runs beside the paper's, on one page"""
    from .reports.report_command import report_command

    report_command(arguments)


def run_sweep(arguments: Sequence[str]) -> None:
    """try all combinations of a sweep file on this machine"""
    from .ablate.sweeps import sweep_overrides
    from .compose import run

    if len(arguments) < 1:
        raise SystemExit("usage: interleave sweep NAME_OR_FILE [OVERRIDES]")
    run("train", ["--multirun", *sweep_overrides(arguments[0]), *arguments[1:]], _train)


def run_ablate(arguments: Sequence[str]) -> None:
    """run the paper's ablations in small and draw their tables"""
    from .ablate.ablate_command import ablate_command

    ablate_command(arguments)


def run_chat(arguments: Sequence[str]) -> None:
    """ask a run about pictures and videos"""
    from .inference.chat_command import chat_command

    chat_command(arguments)


def run_convert(arguments: Sequence[str]) -> None:
    """write a model in another layout"""
    from .export.convert_command import convert_command

    convert_command(arguments)


def run_data(arguments: Sequence[str]) -> int:
    """check, count, preview or pack training data"""
    from .dataset_tools.data_command import data_command

    return data_command(arguments)


def run_launch(arguments: Sequence[str]) -> None:
    """write the batch file of a training run for a cluster"""
    from .launch.launch_command import launch_command

    launch_command(arguments)


def run_bench(arguments: Sequence[str]) -> None:
    """measure speed and memory on this machine"""
    from .bench.bench_command import bench_command

    bench_command(arguments)


def run_plugins(arguments: Sequence[str]) -> None:
    """list what can be chosen, and where it comes from"""
    from .plugins_command import plugins_command

    plugins_command(arguments)


COMMANDS: dict[str, Command] = {
    "train": run_train,
    "plan": run_plan,
    "eval": run_evaluate,
    "score": run_score,
    "report": run_report,
    "sweep": run_sweep,
    "ablate": run_ablate,
    "chat": run_chat,
    "convert": run_convert,
    "data": run_data,
    "launch": run_launch,
    "bench": run_bench,
    "plugins": run_plugins,
}


if __name__ == "__main__":
    sys.exit(main())
