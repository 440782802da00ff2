"""What can be run on this project. All sessions but lmms share one environment of 6 GB, made on first use."""

import sys
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "none"
ENVIRONMENT = Path(".nox", "interleave").resolve()
BIN = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")
CODE = ("src", "plugins", "tests", "benchmarks", "noxfile.py")


def install(session: nox.Session) -> None:
    """The package, editable, with the tools, at the tested versions."""
    if not BIN.exists():
        session.run(sys.executable, "-m", "venv", str(ENVIRONMENT))
        python(session, "-m", "pip", "install", "-q", "--upgrade", "pip>=25.1")  # the first with dependency groups
    # setuptools warns at length that an editable installation is one
    quiet = {"PYTHONWARNINGS": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    python(session, "-m", "pip", "install", "-q", "-c", "constraints.txt", "--group", "dev", "-e", ".", env=quiet)


def python(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Python of the shared environment."""
    session.run(str(BIN / "python"), *arguments, env=env)


@nox.session
def tests(session: nox.Session) -> None:
    """Lint, types and all fast tests, in two processes of one thread each. Arguments go to pytest."""
    lint(session)
    types(session)
    python(session, "-m", "pytest", "-n", "2", "--dist", "worksteal", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def fast(session: nox.Session) -> None:
    """Tests without installing anything: nox -s fast -- PATH. Arguments go to pytest."""
    if not BIN.exists():
        session.error(f"{ENVIRONMENT} is not there yet; nox -s tests makes it")
    python(session, "-m", "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines no test runs: a table, and pages in htmlcov. Arguments go to pytest."""
    install(session)
    shown = ["--cov=interleave", "--cov=interleave_plugins", "--cov-report=term:skip-covered", "--cov-report=html"]
    python(session, "-m", "pytest", "-n", "2", *shown, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    install(session)
    python(session, "-m", "ruff", "check", *CODE)
    python(session, "-m", "ruff", "format", "--check", *CODE)


@nox.session
def types(session: nox.Session) -> None:
    """Static types, strictly."""
    install(session)
    python(session, "-m", "mypy")


@nox.session
def quickstart(session: nox.Session) -> None:
    """From nothing to a trained, evaluated model and its report. Arguments are overrides."""
    install(session)
    python(session, "-m", "interleave.cli", "train", "experiment=quickstart", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Twenty runs killed at random moments, each resumed to the same bits."""
    install(session)
    python(session, "-m", "pytest", "tests/slow", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel and train a few steps from it, in an empty folder, without the source tree."""
    install(session)
    target = Path(session.create_tmp())
    site, empty = (target / "site").resolve(), (target / "empty").resolve()
    python(session, "-m", "build", "--wheel", "--outdir", str(target / "dist"))
    newest = max((target / "dist").glob("*.whl"), key=lambda p: p.stat().st_mtime)
    python(session, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(site), str(newest))
    empty.mkdir(exist_ok=True)
    small = ["trainer.max_steps=2", "dataset.mini.scenes=5", "task.mini.scenes=5"]
    code = (
        "import sys, interleave, interleave_plugins; from interleave.cli import main; "
        f"assert all(m.__file__.startswith({str(site)!r}) for m in (interleave, interleave_plugins)); "
        "sys.exit(main(sys.argv[1:]))"
    )
    with session.chdir(empty):
        python(session, "-c", code, "train", "experiment=quickstart", *small, env={"PYTHONPATH": str(site)})


@nox.session
def seeds(session: nox.Session) -> None:
    """The quickstart with three seeds, and the table of docs/performance.md; a quarter of an hour on two cores."""
    install(session)
    python(session, "benchmarks/seeds.py", *session.posargs)


@nox.session
def bugs(session: nox.Session) -> None:
    """Bugs put in on purpose, one at a time: each must turn a test red."""
    install(session)
    python(session, "tests/mutations/bugs.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Numbers on speed and memory."""
    install(session)
    python(session, "-m", "interleave.cli", "bench", *session.posargs)
    python(session, "benchmarks/data.py")
    python(session, "benchmarks/evaluation.py")


@nox.session
def real_size(session: nox.Session) -> None:
    """What the real size costs on two cores, in a quarter of an hour: nox -s real_size -- --only step,reply."""
    install(session)
    python(session, "-m", "benchmarks.real_size", *session.posargs)


@nox.session
def qlora(session: nox.Session) -> None:
    """Adapters on four bits, with bitsandbytes, which the other sessions do without."""
    install(session)
    python(session, "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", ".[qlora]")
    python(session, "-m", "pytest", "tests/training/test_lora.py", *session.posargs)
    python(session, "-m", "pip", "uninstall", "-q", "-y", "bitsandbytes")


@nox.session
def lmms(session: nox.Session) -> None:
    """The door to lmms-eval, in an environment of its own of 7 GB: lmms-eval wants other versions than ours."""
    own = Path(".nox", "lmms").resolve()
    if not own.exists():
        session.run(sys.executable, "-m", "venv", str(own))
    command = str(own / BIN.name / "python")
    session.run(command, "-m", "pip", "install", "-q", "-e", ".[lmms]", "pytest", external=True)
    session.run(command, "-m", "pytest", "tests/lmms", *session.posargs, external=True)


@nox.session
def gpu(session: nox.Session) -> None:
    """What needs a GPU: kernels, precision, sharding."""
    install(session)
    python(session, "-m", "pytest", "tests/gpu", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Every name that a user can choose stands in the docs, and every link in them leads somewhere."""
    install(session)
    python(session, "-m", "pytest", "tests/contracts/test_docs.py")
