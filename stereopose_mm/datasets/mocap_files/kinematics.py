# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What the motion-capture formats share: rotations, forward kinematics, the file error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation


class MotionFileError(ValueError):
    """A motion file that cannot be used, with the place where it goes wrong.

    Args:
        file: Name of the file, as the user would look for it.
        line: Line of the fault, counted from 1; 0 when the fault has no line.
        message: What is wrong there.
    """

    def __init__(self, file: str, line: int, message: str) -> None:
        super().__init__(f'{file}:{line}: {message}' if line else f'{file}: {message}')
        self.file = file
        self.line = line


def axis_rotation(axis: str, angles: np.ndarray) -> np.ndarray:
    """Rotate about one coordinate axis by the right-hand rule.

    Args:
        axis: 'x', 'y' or 'z'.
        angles: ``(...)`` angles in radians.

    Returns:
        ``(..., 3, 3)`` matrices that act on column vectors.
    """
    i = 'xyz'.index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    cos, sin = np.cos(angles), np.sin(angles)
    matrix = np.zeros((*np.shape(angles), 3, 3))
    matrix[..., i, i] = 1.0
    matrix[..., j, j] = matrix[..., k, k] = cos
    matrix[..., j, k] = -sin
    matrix[..., k, j] = sin
    return matrix


def euler_rotation(axes: str, angles: np.ndarray) -> np.ndarray:
    """Multiply axis rotations in the order written: R = R_axes[0] R_axes[1] ...

    Args:
        axes: Letters out of 'xyz', one per angle; '' gives the identity.
        angles: ``(..., len(axes))`` angles in radians.

    Returns:
        ``(..., 3, 3)`` matrices that act on column vectors.
    """
    matrix = np.broadcast_to(np.eye(3), (*np.shape(angles)[:-1], 3, 3))
    for column, axis in enumerate(axes):
        matrix = matrix @ axis_rotation(axis, angles[..., column])
    return matrix


def quaternion_rotation(quaternions: np.ndarray) -> np.ndarray:
    """Turn quaternions (w, x, y, z) of any positive length into rotation matrices.

    Args:
        quaternions: ``(..., 4)``.

    Returns:
        ``(..., 3, 3)`` matrices that act on column vectors.
    """
    unit = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    w, x, y, z = np.moveaxis(unit, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def forward_kinematics(
    parents: Sequence[int], translations: np.ndarray, rotations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Place every joint of a tree in the world.

    With parent p of joint j: ``R_j = R_p L_j`` and ``x_j = x_p + R_p t_j``.

    Args:
        parents: Parent of each of the J joints, -1 for a root; parents come before children.
        translations: ``(F, J, 3)`` joint position in its parent's frame.
        rotations: ``(F, J, 3, 3)`` joint rotation in its parent's frame.

    Returns:
        Positions ``(F, J, 3)``, in the unit of ``translations``, and rotations ``(F, J, 3, 3)``.
    """
    positions = np.array(translations, dtype=np.float64)
    world = np.array(rotations, dtype=np.float64)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            offset = world[:, parent] @ positions[:, joint, :, None]
            positions[:, joint] = positions[:, parent] + offset[..., 0]
            world[:, joint] = world[:, parent] @ world[:, joint]
    return positions, world


def parse_floats(fields: Sequence[str], file: str, line: int) -> list[float]:
    """Read a line's numbers; anything that is not a finite number is a `MotionFileError`."""
    values = []
    for field in fields:
        try:
            value = float(field)
        except ValueError:
            raise MotionFileError(file, line, f'{field!r} is not a number') from None
        if not np.isfinite(value):
            raise MotionFileError(file, line, f'{field!r} is not a finite number')
        values.append(value)
    return values


def shortest_rotation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Give the rotation by the least angle that takes one direction to another.

    With unit vectors a, b: ``R = I + [a x b] + [a x b]^2 / (1 + a.b)``.

    Args:
        source: ``(..., 3)`` vectors of any positive length.
        target: ``(..., 3)`` vectors of any positive length, not opposite to `source`.

    Returns:
        ``(..., 3, 3)`` matrices that act on column vectors.
    """
    a = source / np.linalg.norm(source, axis=-1, keepdims=True)
    b = target / np.linalg.norm(target, axis=-1, keepdims=True)
    x, y, z = np.moveaxis(np.cross(a, b), -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    cross = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    cosine = (a * b).sum(axis=-1)[..., None, None]
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def blend_rotations(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """Turn part of the way from one rotation to another, about one axis.

    Args:
        first: ``(F, 3, 3)`` rotations.
        second: ``(F, 3, 3)`` rotations.
        share: 0 gives the first, 1 the second.

    Returns:
        ``(F, 3, 3)`` rotations.
    """
    difference = Rotation.from_matrix(np.swapaxes(first, -1, -2) @ second).as_rotvec()
    return first @ Rotation.from_rotvec(share * difference).as_matrix()
