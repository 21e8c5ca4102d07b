# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

# A person who stands facing +z, y up, metres: H36M-17.
STANDING = np.array(
    [
        [0, 0, 0], [-0.13, 0, 0], [-0.13, -0.44, 0.02], [-0.13, -0.89, 0], [0.13, 0, 0], [0.13, -0.44, 0.02],
        [0.13, -0.89, 0], [0, 0.23, 0], [0, 0.49, 0], [0, 0.6, 0.05], [0, 0.72, 0], [0.15, 0.49, 0], [0.18, 0.22, 0],
        [0.18, -0.03, 0.05], [-0.15, 0.49, 0], [-0.18, 0.22, 0], [-0.18, -0.03, 0.05],
    ]
)  # fmt: skip


@pytest.fixture
def write_mocap(tmp_path):
    """Write an NPZ as mocap2npz.py does: clips s1/a.bvh (12 frames), s1/b.bvh (6), s2/a.bvh (6), s10/a.amc (4)."""

    def write(name='mocap.npz', **changes):
        lengths = [12, 6, 6, 4]
        frames = sum(lengths)
        joints = STANDING + np.random.default_rng(0).normal(size=(frames, 17, 3)) * 0.03
        arrays = dict(
            joints=joints.astype(np.float32),
            clip_index=np.repeat(np.arange(4), lengths),
            clip_names=np.array(['x/a.bvh', 'x/b.bvh', 'x/a.bvh', 'y/a.amc']),
            clip_subjects=np.array(['s1', 's1', 's2', 's10']),
        )
        arrays |= changes
        path = tmp_path / name
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return str(path)

    return write
