"""The configs. A module, so that Hydra finds them in an installed package."""
