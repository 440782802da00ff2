"""From samples to batches: records, placement, tokens and loss mask, what is too large, rows."""
