"""``interleave ablate``: experiments side by side, with several seeds each, and the table of what came out."""
