"""What can be run on this project. All sessions share one environment, made on first use."""

from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_venv = "yes"
ENVIRONMENT = ".nox/interleave"
CODE = ("src", "plugins", "tests", "benchmarks", "noxfile.py")


def install(session: nox.Session) -> None:
    """The package, editable, with the tools, at the tested versions; nothing where that was done before."""
    session.install("-q", "-c", "constraints.txt", "--group", "dev", "-e", ".")


@nox.session(venv_location=ENVIRONMENT)
def tests(session: nox.Session) -> None:
    """Lint, types and all fast tests. Arguments go to pytest."""
    lint(session)
    types(session)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    install(session)
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)


@nox.session(venv_location=ENVIRONMENT)
def types(session: nox.Session) -> None:
    """Static types, strictly."""
    install(session)
    session.run("mypy")


@nox.session(venv_location=ENVIRONMENT)
def quickstart(session: nox.Session) -> None:
    """From nothing to a trained, evaluated model and its report. Arguments are overrides."""
    install(session)
    session.run("interleave", "train", "experiment=quickstart", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def wheel(session: nox.Session) -> None:
    """Build the wheel and train a few steps from it, in an empty folder, without the source tree."""
    install(session)
    target = Path(session.create_tmp())
    site, empty = (target / "site").resolve(), (target / "empty").resolve()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(target / "dist"), silent=True)
    newest = max((target / "dist").glob("*.whl"), key=lambda p: p.stat().st_mtime)
    session.install("-q", "--no-deps", "--upgrade", "--target", str(site), str(newest))
    empty.mkdir(exist_ok=True)
    small = ["trainer.max_steps=2", "dataset.mini.scenes=5", "task.mini.scenes=5", "logger=null"]
    code = (
        "import sys, interleave; from interleave.cli import main; "
        f"assert interleave.__file__.startswith({str(site)!r}), interleave.__file__; sys.exit(main(sys.argv[1:]))"
    )
    with session.chdir(empty):
        session.run(
            "python", "-c", code, "train", "experiment=quickstart", *small, env={"PYTHONPATH": str(site)}
        )  # fmt: skip


@nox.session(venv_location=ENVIRONMENT)
def seeds(session: nox.Session) -> None:
    """The quickstart with three seeds and the table of docs/performance.md; a quarter of an hour on two cores."""
    install(session)
    session.run("python", "benchmarks/seeds.py", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def bench(session: nox.Session) -> None:
    """Numbers on speed and memory."""
    install(session)
    session.run("python", "benchmarks/packing.py", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def gpu(session: nox.Session) -> None:
    """What needs a GPU: kernels, precision, sharding."""
    install(session)
    session.run("python", "-m", "pytest", "-m", "gpu", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def docs(session: nox.Session) -> None:
    """Every name that a user can choose stands in the docs, and every link in them leads somewhere."""
    install(session)
    session.run("python", "-m", "pytest", "tests/test_docs.py")
