"""Cameras, rigid and similarity transforms, camera paths. Pure: arrays in, arrays out."""
