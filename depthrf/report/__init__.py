"""One page that explains a run: what went in, what came out, how far it can be trusted, what would improve it."""
