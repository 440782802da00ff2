"""What modalities share: pooled views, and the geometry of tiles."""
