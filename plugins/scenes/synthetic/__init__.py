"""Scenes made from code, with exact truth, and files of them."""
