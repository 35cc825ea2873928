"""Many scenes: each is one reconstruction in a process of its own, on this machine or on a Ray cluster."""
