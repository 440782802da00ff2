"""What vision encoders share."""
