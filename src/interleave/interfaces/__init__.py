"""The contracts that a plugin fulfils, one for each registry, and the registries themselves."""
