"""Plots that explain a run: camera frusta with their photos, training curves, the depth bound on one ray."""
