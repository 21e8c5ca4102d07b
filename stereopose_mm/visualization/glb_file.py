# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The container of binary glTF 2.0: arrays with their descriptions, then JSON and one block of bytes in a file.

Source: Khronos Group, "glTF 2.0 Specification", 3.6 (accessors) and 4.4 (GLB).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from ..files import whole_file

_COMPONENTS = {'uint8': 5121, 'uint16': 5123, 'uint32': 5125, 'float32': 5126}
_TYPES = {(): 'SCALAR', (3,): 'VEC3', (4,): 'VEC4', (4, 4): 'MAT4'}
_VERTICES, _INDICES = 34962, 34963


class GlbFile:
    """A glTF document in the making.

    Attributes:
        document: The JSON part; :meth:`add` fills its lists.
    """

    def __init__(self, generator: str) -> None:
        self.document = {'asset': {'version': '2.0', 'generator': generator}}
        self._bytes = bytearray()

    def add(self, kind: str, **item) -> int:
        """Append to one of the document's lists, such as ``'nodes'``; returns the index."""
        items = self.document.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def add_array(self, values: np.ndarray, bounds: bool = False, normalized: bool = False, target=None) -> int:
        """Append an array.

        Args:
            values: ``(n)``, ``(n, 3)``, ``(n, 4)`` or ``(n, 4, 4)`` of a type that glTF has; matrices by columns.
            bounds: Whether to state the least and greatest values.
            normalized: Whether whole numbers stand for 0 to 1.
            target: Use of its bytes.

        Returns:
            Index of its accessor.
        """
        values = np.ascontiguousarray(values, values.dtype.newbyteorder('<'))
        view = self.add('bufferViews', buffer=0, byteOffset=len(self._bytes), byteLength=values.nbytes)
        if target is not None:
            self.document['bufferViews'][view]['target'] = target
        self._bytes += values.tobytes()
        self._bytes += bytes(-len(self._bytes) % 4)
        item = {
            'bufferView': view, 'componentType': _COMPONENTS[values.dtype.name], 'count': len(values),
            'type': _TYPES[values.shape[1:]],
        }  # fmt: skip
        if normalized:
            item['normalized'] = True
        if bounds:
            rows = values.reshape(len(values), -1)
            # A float32 as a double in JSON is exact.
            item |= {'min': rows.min(0).tolist(), 'max': rows.max(0).tolist()}
        return self.add('accessors', **item)

    def add_triangles(
        self, points: np.ndarray, normals: np.ndarray, triangles: np.ndarray, material: int, nodes=None
    ) -> dict:
        """Append the arrays of a mesh.

        Args:
            points: ``(V, 3)`` float32 metres.
            normals: ``(V, 3)`` float32.
            triangles: ``(T, 3)`` uint16 or uint32.
            material: Its index.
            nodes: ``(V,)`` uint8, the one joint that each vertex follows; None without a skin.

        Returns:
            The primitive.
        """
        attributes = {
            'POSITION': self.add_array(points, bounds=True, target=_VERTICES),
            'NORMAL': self.add_array(normals, target=_VERTICES),
        }
        if nodes is not None:
            joints, weights = np.zeros((2, len(nodes), 4), np.uint8)
            joints[:, 0], weights[:, 0] = nodes, 255
            attributes['JOINTS_0'] = self.add_array(joints, target=_VERTICES)
            attributes['WEIGHTS_0'] = self.add_array(weights, normalized=True, target=_VERTICES)
        indices = self.add_array(triangles.reshape(-1), target=_INDICES)
        return {'attributes': attributes, 'indices': indices, 'material': material}

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        if self._bytes:
            self.document['buffers'] = [{'byteLength': len(self._bytes)}]
        text = json.dumps(self.document, separators=(',', ':'), allow_nan=False).encode()
        text += b' ' * (-len(text) % 4)
        chunks = struct.pack('<I4s', len(text), b'JSON') + text
        if self._bytes:
            chunks += struct.pack('<I4s', len(self._bytes), b'BIN\0') + self._bytes
        with whole_file(path) as temporary:
            temporary.write_bytes(struct.pack('<4sII', b'glTF', 2, 12 + len(chunks)) + chunks)
