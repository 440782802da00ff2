"""Tasks asked in batches, replies kept as they come, graded by judges, summed up and audited."""
