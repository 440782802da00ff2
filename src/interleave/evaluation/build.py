"""Config -> what asks and grades."""

from ..interfaces.judge import Judge
from ..interfaces.registry import judges, tasks
from ..interfaces.task import Task
from ..model.assembly import Config


def build_tasks(config: Config) -> dict[str, Task]:
    return {name: tasks.build(node) for name, node in config["task"].items()}


def build_judge(config: Config) -> Judge | None:
    """The one that is chosen, if any."""
    return judges.build(config["judge"]) if config["judge"] else None
