# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Arrays as columns of Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

_DTYPES = {pa.uint8(): np.uint8, pa.int32(): np.int32, pa.int64(): np.int64, pa.float32(): np.float32}


def as_column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """A column of text, of numbers, or of lists of so many numbers.

    Args:
        values: ``(n,)``, or ``(n, …)`` for lists; NaN in a column of numbers is null, as numpy has no other way to say
            it.
        kind: Type of the column.
    """
    if pa.types.is_string(kind):
        return pa.array(np.asarray(values, object), kind)
    if pa.types.is_fixed_size_list(kind):
        flat = np.ascontiguousarray(values, _DTYPES[kind.value_type]).ravel()
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), kind.list_size)
    return pa.array(np.asarray(values).astype(_DTYPES[kind]), kind, from_pandas=kind == pa.float32())
