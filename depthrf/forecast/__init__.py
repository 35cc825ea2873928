"""What a run will take on this machine: its kernels are tried on a photo or two, and scaled up to the whole set."""
