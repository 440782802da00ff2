"""One module for each form in which scenes lie on disk."""
