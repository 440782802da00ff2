"""``interleave plan``: what a run will take, before any device is taken."""
