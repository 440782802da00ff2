"""Training data: annotation files, the order of the mixture, packing, loader workers, the ledger, the data module."""
