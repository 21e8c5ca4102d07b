# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Ids and splits by hash: a record has the same ones in every run, whatever else is labelled with it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from .annotations import Annotations

#: Parts of a set.
SPLITS = ('train', 'val')


def record_ids(annotations: Annotations) -> np.ndarray:
    """``(n,)`` int64, of source, image and record: 63 bits, so that ten million records share none."""
    names = zip(annotations.source, annotations.file_name, annotations.record, strict=True)
    return (_hashes(names, b'record') >> np.uint64(1)).astype(np.int64)


def image_ids(file_names: np.ndarray, image_sizes: np.ndarray) -> np.ndarray:
    """``(n,)`` int64, of the images' names and sizes.

    People of one picture have one, also where several sources annotate it; pictures of one name in sets that have
    nothing to do with each other are told apart by their size, which all people of an image have to agree on.

    Args:
        file_names: ``(n,)``.
        image_sizes: ``(n, 2)`` pixels.
    """
    names = zip(file_names, *np.asarray(image_sizes).T.tolist(), strict=True)
    return (_hashes(names, b'image') >> np.uint64(1)).astype(np.int64)


def in_training_split(file_names: np.ndarray, train_share: float) -> np.ndarray:
    """Which images are for training, by the hash of their name alone.

    Args:
        file_names: ``(n,)``.
        train_share: Part of all images, 0 to 1.

    Returns:
        ``(n,)`` bool; a greater share takes images in and puts none out.
    """
    place = _hashes(((name,) for name in file_names), b'split').astype(np.float64) * 2.0**-64
    return place < train_share if train_share < 1 else np.ones(len(place), bool)


def _hashes(names: Iterable[tuple], purpose: bytes) -> np.ndarray:
    """``(n,)`` uint64, each of some words."""
    digests = [
        blake2b('\0'.join(map(str, words)).encode('utf-8', 'surrogatepass'), digest_size=8, person=purpose).digest()
        for words in names
    ]
    return np.frombuffer(b''.join(digests), '<u8').astype(np.uint64)
