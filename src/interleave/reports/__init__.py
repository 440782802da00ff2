"""Runs to ``report.html`` and ``report.md``: results beside the paper's, what was fed, items with their pictures."""
