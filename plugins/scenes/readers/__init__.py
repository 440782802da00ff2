"""One module for each form in which scenes lie on disk, and ``open_scene``, which recognises them."""
