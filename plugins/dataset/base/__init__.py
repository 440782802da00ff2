"""What readers of data sets share."""
