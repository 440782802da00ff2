"""What training, asking and moving a model of the real size costs on a desk: ``nox -s real_size``."""
