"""``interleave bench``: the package measured against what else there is, on this machine, with random weights."""
