"""Structure from motion: camera poses and sparse points from photos, with pycolmap in a child process."""
