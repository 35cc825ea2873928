"""What `export` writes for other programs, one module a kind of file; helpers of the export stage only."""
