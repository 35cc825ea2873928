"""Kills, signals, full disks and damaged files: what a workspace survives."""
