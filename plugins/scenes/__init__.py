"""3D scenes as posed pictures: reading them from files, choosing views, and encoding camera poses for a model."""
