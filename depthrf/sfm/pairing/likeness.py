"""How alike photos are, from their SIFT descriptors: VLAD over a codebook that is learnt from the same photos. Pure.

Jégou, Douze, Schmid and Pérez, "Aggregating local descriptors into a compact image representation", CVPR 2010. Every
word's part has length one, as in Arandjelović and Zisserman, "All about VLAD", CVPR 2013. The mean over all photos is
taken away, for photos of one scene have much in common that tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SAMPLE = 2000
"""Descriptors of a photo that are looked at."""

_WORDS = 64
_LEARNT_FROM = 20_000  # descriptors of all photos together
_ROUNDS = 12
_DECIMALS = 6  # of a likeness; sums of floats differ beyond, with the number of threads


def sampled(descriptors: NDArray[np.uint8], seed: Sequence[int]) -> NDArray[np.uint8]:
    """At most :data:`SAMPLE` of a photo's descriptors (N, 128), in their order."""
    if len(descriptors) <= SAMPLE:
        return descriptors
    return descriptors[np.sort(np.random.default_rng(seed).choice(len(descriptors), SAMPLE, replace=False))]


def likeness(descriptors: Sequence[NDArray[np.uint8]], seed: int) -> Array:
    """Cosine (P, P) between any two of P photos; the same for the same seed.

    Args:
        descriptors: Of each photo, (N, 128). A photo that has none is like no other: 0.
        seed: Of the codebook's first words.
    """
    if not any(len(d) for d in descriptors):
        return np.zeros((len(descriptors), len(descriptors)))
    words = _codebook(descriptors, seed)
    vectors = np.stack([_vlad(d, words) for d in descriptors])
    seen = np.array([len(d) > 0 for d in descriptors])
    vectors[seen] -= vectors[seen].mean(0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray((vectors @ vectors.T).round(_DECIMALS))


def _codebook(descriptors: Sequence[NDArray[np.uint8]], seed: int) -> NDArray[np.float32]:
    """Words (K, 128) by k-means. Whole numbers, whose products float32 holds exactly: no rounding moves a word."""
    rng = np.random.default_rng(seed)
    together = np.concatenate(descriptors)
    if len(together) > _LEARNT_FROM:
        together = together[np.sort(rng.choice(len(together), _LEARNT_FROM, replace=False))]
    data = together.astype(np.float32)
    words = data[np.sort(rng.choice(len(data), min(_WORDS, len(data)), replace=False))]
    for _ in range(_ROUNDS):
        nearest = _nearest(data, words)
        counts = np.bincount(nearest, minlength=len(words))
        sums = _sums(data, nearest, len(words))
        kept = counts > 0
        words[kept] = (sums[kept] / counts[kept, None]).round()
    return words


def _nearest(data: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray((2.0 * data @ words.T - (words * words).sum(1)).argmax(1))


def _sums(data: NDArray[np.float32], word: NDArray[np.int64], num_words: int) -> Array:
    """Sum (K, 128) of each word's descriptors."""
    order = np.argsort(word, kind="stable")
    starts = np.searchsorted(word[order], np.arange(num_words))
    total = np.vstack([np.zeros((1, data.shape[1])), np.cumsum(data[order], axis=0, dtype=np.float64)])
    ends = np.append(starts[1:], len(data))
    return np.asarray(total[ends] - total[starts])


def _vlad(descriptors: NDArray[np.uint8], words: NDArray[np.float32]) -> Array:
    """What a photo's descriptors differ from their nearest words, (K * 128,), of length one; 0 without descriptors."""
    data = descriptors.astype(np.float32)
    nearest = _nearest(data, words)
    counts = np.bincount(nearest, minlength=len(words))
    parts = _sums(data, nearest, len(words)) - counts[:, None] * words
    parts /= np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), 1e-12)
    return np.asarray(parts.ravel() / np.maximum(np.linalg.norm(parts), 1e-12))
