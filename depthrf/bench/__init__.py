"""Published protocols on public data: depthrf trains and is scored by them, beside the published numbers."""
