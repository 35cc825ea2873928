"""Helpers of the render stage: planning a film, judging its path, rendering its frames and writing its files."""
