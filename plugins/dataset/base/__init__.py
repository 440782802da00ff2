"""What the data set plugins share."""
