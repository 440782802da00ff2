"""What the judge plugins share."""
