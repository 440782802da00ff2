"""Runs -> ``report.html`` and ``report.md``: results beside the paper's, what was fed, items with their pictures."""

from .command import report_command
from .page import write_report

__all__ = ["report_command", "write_report"]
