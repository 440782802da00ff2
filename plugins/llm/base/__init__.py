"""What language models share: chat formats, the families, and the wrapper around a model of Transformers."""
