"""A training run: Lightning's module, optimiser, LoRA, DPO, sharding, resuming, evaluation while it trains."""
