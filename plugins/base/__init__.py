"""What several groups of plugins share."""
