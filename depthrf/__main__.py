"""``python -m depthrf``, which torchrun needs."""

from depthrf.cli import main

if __name__ == "__main__":
    main()
