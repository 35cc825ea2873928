"""depthrf: from a handful of ordinary photos to a video that flies through the scene.

The package imports nothing heavy by itself; ``depthrf.pipeline`` runs stages, ``depthrf.stages`` holds one module
per stage, each with an ``Options`` dataclass and ``run(workspace, options) -> Summary``.
"""

__version__ = "0.1.0"
