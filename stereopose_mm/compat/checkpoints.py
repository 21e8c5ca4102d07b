# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMEngine's checkpoints under the `weights_only=True` that torch 2.6 made the default.

A Runner's checkpoint holds, besides tensors and plain Python, the logged scalars
(:class:`HistoryBuffer`, over numpy arrays) and numpy numbers (best score, dataset's metainfo). torch
refuses these until they are on its allow-list; exactly they are put there and the check stays on.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import _ParamScheduler
from packaging.version import Version

# The plain number and text types; no object, void or date types.
_DTYPES = tuple(type(np.dtype(code)) for code in ('?', *np.typecodes['AllInteger'], *np.typecodes['Float'], 'U'))
# Functions without a public name, which numpy's own pickles call.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]
# MMEngine pickles its buffers' statistics by name, as `getattr(HistoryBuffer, 'mean')`.
_STATISTICS = ('current', 'max', 'mean', 'min')


def _statistic_of_history_buffer(owner: object, name: str) -> Callable:
    """Stand in for `getattr` in a checkpoint, which itself would reach any attribute at all."""
    if owner is HistoryBuffer and name in _STATISTICS:
        return inspect.getattr_static(HistoryBuffer, name)
    raise pickle.UnpicklingError(
        f'the checkpoint asks for attribute {name!r} of {owner!r}, which no MMEngine checkpoint does'
    )


def _empty_bytes() -> bytes:
    """Stand in for `bytes` in a checkpoint: an empty array pickles its data as `bytes()`."""
    return b''


def safe_globals() -> list[Callable | tuple[Callable, str]]:
    """Return what a checkpoint of MMEngine's Runner needs beyond torch's own allow-list.

    Returns:
        Items for `torch.serialization.add_safe_globals`: objects, or pairs of an object and the name
        that it has in the file.
    """
    numpy_functions = [
        # The module's name differs between files written under numpy 1 and numpy 2.
        (function, f'numpy.{core}.multiarray.{name}')
        for function, name in ((_RECONSTRUCT, '_reconstruct'), (_SCALAR, 'scalar'))
        for core in ('core', '_core')
    ]
    replacements = [(_statistic_of_history_buffer, 'builtins.getattr'), (_empty_bytes, 'builtins.bytes')]
    return [HistoryBuffer, np.ndarray, np.dtype, *_DTYPES, *numpy_functions, *replacements]


def _state_without_functions(scheduler: _ParamScheduler) -> dict:
    """State of a scheduler without the function that OneCycle keeps in it; loading leaves its own in place.

    torch refuses a checkpoint that refers to it.
    """
    kept = scheduler.__dict__.items()
    return {key: value for key, value in kept if key != 'optimizer' and not inspect.isroutine(value)}


def apply() -> None:
    """Put :func:`safe_globals` on torch's allow-list; before torch 2.6 there is nothing to do."""
    if Version(torch.__version__) >= Version('2.6'):
        torch.serialization.add_safe_globals(safe_globals())
        _ParamScheduler.state_dict = _state_without_functions
