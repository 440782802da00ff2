"""The model: vision encoder, projector, scatter, language model; attention within documents; the loss head."""
