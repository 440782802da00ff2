"""What a training step costs: its work in FLOPs by part, and its memory by term. Arithmetic and shapes, no weights."""
