"""Readers of what other programs export: photos with poses and, from some phones, sensor depth.

One module a format, with ``KIND`` (its name for people), ``matches(folder)`` (told by file names alone) and
``read(folder)`` (a :class:`~depthrf.io.captures.capture.Capture`). :mod:`~depthrf.io.captures.registry` lists them.
"""
