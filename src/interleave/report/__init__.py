"""Runs -> ``report.html`` and ``report.md``: results beside the paper's, what was fed, items with their pictures."""

from .command import report_command
from .page import write_report
from .runs import read_runs

__all__ = ["read_runs", "report_command", "write_report"]
