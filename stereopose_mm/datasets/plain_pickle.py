# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pickles of plain data: arrays, numbers, text and containers of them, and nothing that could run code."""

from __future__ import annotations

import io
import pickle

# What a pickle of dicts, text, numbers and arrays names; numpy 2 has moved what numpy 1 wrote.
_ALLOWED = {
    ('numpy', 'dtype'),
    ('numpy', 'ndarray'),
    ('_codecs', 'encode'),
    *((f'numpy.{core}.{module}', name) for core in ('core', '_core')
      for module, name in (('multiarray', '_reconstruct'), ('multiarray', 'scalar'), ('numeric', '_frombuffer'))),
}  # fmt: skip


class _ArraysOnly(pickle.Unpickler):
    """Unpickler of plain data: anything that could run code is refused."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f'it names {module}.{name}; only arrays, numbers and text are loaded')
        return super().find_class(module, name)


def load_plain_pickle(data: bytes, encoding: str = 'ASCII') -> object:
    """Unpickle plain data.

    Args:
        data: The pickle.
        encoding: How text of Python 2 is decoded; ``'latin1'`` where it holds arrays.

    Returns:
        The object.

    Raises:
        Exception: Of any kind, as a broken pickle can fail in any way; ``pickle.UnpicklingError`` if it names anything
            but arrays, numbers and text.
    """
    return _ArraysOnly(io.BytesIO(data), encoding=encoding).load()
