"""Replies of a model: generation, sessions, the Python door, chat. Needs neither Lightning nor Hydra nor wandb."""
