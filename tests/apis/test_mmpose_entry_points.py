# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMPose's own inferencer and demo, unchanged, with this package's lifters."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from stereopose_mm.apis.lifting import init_lifter, lift_keypoints, shipped_lifter
from stereopose_mm.geometry import Camera

from .random_models import mmpose_config, noise_images, write_models, write_video

LIFTERS = ('h36m', 'coco')
WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """An image, a video and the models."""
    folder = tmp_path_factory.mktemp('entry')
    images = noise_images(2)
    cv2.imwrite(str(folder / 'image.png'), images[0])
    write_video(folder / 'clip.mp4', images)
    return folder


@pytest.fixture(scope='module')
def models(folder):
    return write_models(folder)


@pytest.fixture(scope='module', params=LIFTERS)
def inferencer(request, models):
    from mmpose.apis import MMPoseInferencer

    config, weights = map(str, shipped_lifter(request.param))
    return MMPoseInferencer(
        pose3d=config,
        pose3d_weights=weights,
        pose2d=models['pose2d'],
        pose2d_weights=models['pose2d_weights'],
        det_model=models['det'],
        det_weights=models['det_weights'],
        det_cat_ids=0,
        device='cpu',
    )


@pytest.mark.parametrize('source, frames', [('image.png', 1), ('clip.mp4', 2)])
def test_mmpose_inferencer(inferencer, folder, tmp_path, source, frames):
    results = list(inferencer(str(folder / source), out_dir=str(tmp_path), return_vis=True))
    assert len(results) == frames
    for result in results:
        people = result['predictions'][0]
        assert people and np.shape(people[0]['keypoints'])[-2:] == (17, 3)
        assert np.isfinite(people[0]['keypoints']).all()
        assert result['visualization'][0].std() > 10
    assert (tmp_path / 'visualizations' / source).stat().st_size > 1000
    assert json.loads((tmp_path / 'predictions' / source).with_suffix('.json').read_text())


def test_mmpose_inferencer_lifts_what_it_found(inferencer, folder):
    """Without the moved boxes its poses are this package's, its axes turned."""
    (result,) = inferencer(
        str(folder / 'image.png'), disable_norm_pose_2d=True, disable_rebase_keypoint=True, return_datasamples=True
    )
    theirs = result['predictions'][0].pred_instances
    estimator = inferencer.inferencer.pose2d_model
    samples = next(estimator(str(folder / 'image.png'), merge_results=False, return_datasamples=True))['predictions']
    keypoints = np.concatenate([sample.pred_instances.keypoints for sample in samples])
    takes = inferencer.inferencer.model.head.decoder.keypoint_set
    scores = np.ones(keypoints.shape[:2], np.float32)
    if takes == 'coco':
        scores[:, 1:5] = 0  # eyes and ears, which MMPose's conversion takes away
    else:
        from mmpose.apis import convert_keypoint_definition

        keypoints = convert_keypoint_definition(keypoints, 'coco', 'h36m')
    ours = lift_keypoints(
        init_lifter(skeleton=takes), keypoints.astype(np.float32), scores, takes, Camera.from_fov(55, WIDTH, HEIGHT)
    )
    turned = np.asarray(theirs.keypoints).reshape(-1, 17, 3)
    relative = np.stack([-turned[..., 0], -turned[..., 2], turned[..., 1]], -1)
    assert ours.valid.any()
    for index in np.flatnonzero(ours.valid):
        closest = np.abs(relative - ours.keypoints[index]).max((1, 2)).min()
        assert closest < 5e-3


@pytest.mark.parametrize('skeleton, source', [('h36m', 'clip.mp4'), ('coco', 'image.png')])
def test_mmposes_demo(models, folder, tmp_path, project_root, skeleton, source):
    lifter = map(str, shipped_lifter(skeleton))
    arguments = [models[key] for key in ('det', 'det_weights', 'pose2d', 'pose2d_weights')]
    command = [sys.executable, '-m', 'stereopose_mm.compat', str(mmpose_config('body3d_pose_lifter_demo.py'))]
    options = ['--input', str(folder / source), '--output-root', str(tmp_path), '--device', 'cpu', '--save-predictions']
    environment = os.environ | {'PYTHONPATH': str(project_root), 'MPLBACKEND': 'agg', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [*command, *arguments, *lifter, *options], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / f'results_{source[:-4]}.json').read_text())['instance_info']
    people = found[0]['instances'] if source.endswith('mp4') else found
    assert np.shape(people[0]['keypoints'])[-2:] == (17, 3)
    assert (tmp_path / source).stat().st_size > 1000
