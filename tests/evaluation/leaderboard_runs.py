# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Runs to make tables of: what MPJPEMetric writes of a test set like Human3.6M's, small."""

import numpy as np
from mmpose.registry import METRICS

import stereopose_mm.evaluation  # noqa: F401

ACTIONS = (
    'Directions', 'Discussion', 'Eating', 'Greeting', 'Phoning', 'Photo', 'Posing', 'Purchases', 'Sitting',
    'SittingDown', 'Smoking', 'Waiting', 'WalkDog', 'Walking', 'WalkTogether',
)  # fmt: skip
STANDING = np.array([
    [0, 0, 0], [-0.13, 0, 0], [-0.13, 0.44, 0], [-0.13, 0.88, 0], [0.13, 0, 0], [0.13, 0.44, 0], [0.13, 0.88, 0],
    [0, -0.23, 0], [0, -0.48, 0], [0, -0.6, -0.05], [0, -0.7, 0], [0.15, -0.45, 0], [0.17, -0.18, 0], [0.18, 0.06, 0],
    [-0.15, -0.45, 0], [-0.17, -0.18, 0], [-0.18, 0.06, 0],
])  # fmt: skip


def make_run(
    path, seed=0, noise=0.05, frames=4, groups=('action', 'subject'), sequences=True, absolute=True, order=1, shift=0.0
):
    """Write a run of 2 subjects, 15 actions and some frames each; the same ground truth for every seed and noise.

    Returns:
        The results of the metric.
    """
    rng = np.random.default_rng(0)
    subjects = [(subject, action) for subject in ('S9', 'S11') for action in ACTIONS]
    num = frames * len(subjects)
    target = STANDING + 0.05 * rng.normal(size=(num, 17, 3)) + shift
    visible = rng.random((num, 17)) > 0.05
    visible[:, 0] = True
    visible[3] = False
    root = np.array([0.2, 0.1, 4.0]) + rng.normal(size=(num, 1, 3)) * [0.5, 0.2, 0.8]
    target += root if absolute else 0
    off = np.random.default_rng(seed + 1).normal(size=(num, 17, 3))
    # What is wrong is alike within a sequence.
    pred = target + noise * (off + np.repeat(off[::frames], frames, axis=0))
    pred[5] = np.nan
    metric = METRICS.build(
        dict(
            type='MPJPEMetric',
            metrics='all',
            group_by=list(groups) or None,
            out_file=str(path),
            **(dict(sequence_key='sequence', frame_key='frame') if sequences else {}),
        )
    )
    samples = []
    for i in range(num)[::order]:
        subject, action = subjects[i // frames]
        cam = pred[[i]]
        samples.append(
            dict(
                gt_instances=dict(lifting_target=target[[i]], lifting_target_visible=visible[[i]]),
                pred_instances=dict(
                    keypoints=cam - cam[:, :1], keypoints_cam=cam, reprojection_error=np.abs(off[[i], 0, 0])
                ),
                target_img_path=f'{subject}/{action}_{i:04d}.jpg',
                subject=subject,
                action=action,
                sequence=f'{subject}_{action}',
                frame=i % frames,
            )
        )
    metric.process(None, samples)
    return metric.evaluate(num)
