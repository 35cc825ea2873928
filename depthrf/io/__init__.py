"""File formats: images, depth maps, COLMAP models, transforms.json, video, weights."""
