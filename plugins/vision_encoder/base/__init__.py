"""What vision encoders share: the towers of Transformers."""
