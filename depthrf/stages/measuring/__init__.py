"""Lengths in photos: where the user points, how long it is, and what known lengths say about the scene's scale."""
