"""Depth: monocular networks, alignment to keypoints, merging. Pure: arrays and tensors in, arrays and tensors out."""
