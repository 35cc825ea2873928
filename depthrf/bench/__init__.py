"""Published protocols on public data, run with this project's field and printed beside the published numbers."""
