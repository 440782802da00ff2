"""One checkpoint layout into another, and the proof that both compute the same."""
