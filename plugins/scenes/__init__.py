"""Posed pictures of a scene: where they come from, which are shown, and what their cameras say about their patches."""
