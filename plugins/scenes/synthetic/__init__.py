"""Scenes made from code, whose cameras, depth and visible objects are known exactly, and files of them."""
