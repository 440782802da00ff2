"""``interleave data``: what a model would be trained on, before it is. One module a subcommand."""
