"""Config -> what asks and grades: the only place of the evaluation that chooses classes by name."""

from ..core.options import Config, check_option
from ..interfaces.judge import Judge
from ..interfaces.registry import judges, tasks
from ..interfaces.task import Task
from .runner import Settings


def build_tasks(config: Config) -> dict[str, Task]:
    """Every chosen task by its name. Raises InputError for an unknown task or option."""
    return {name: tasks.build(node) for name, node in config["task"].items()}


def build_judge(config: Config) -> Judge | None:
    """The chosen judge, None where none is. Raises InputError for an unknown judge or option."""
    return judges.build(config["judge"]) if config["judge"] else None


def build_settings(config: Config) -> Settings:
    """How items are asked, from the config of ``interleave eval``. Raises InputError naming a wrong option."""
    options = {
        "batch": config["eval_batch"],
        "tokens": config["eval_tokens"],
        "prompt_tokens": config["prompt_tokens"],
        "num_workers": config["num_workers"],
        "generation": config["generation"] or {},  # null leaves what each task says
        "placement": config["placement"],
    }
    return check_option("eval", options, Settings)
