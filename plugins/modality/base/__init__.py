"""What modalities share."""
