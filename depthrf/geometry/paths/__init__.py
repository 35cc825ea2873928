"""Camera paths for films, one module a kind."""
