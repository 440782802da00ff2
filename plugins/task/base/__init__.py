"""What the task plugins share."""
