"""Handing a training run to a cluster."""
