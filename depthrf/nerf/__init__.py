"""The radiance field and its training. Pure: tensors in, tensors out; knows nothing of depth networks or files."""
