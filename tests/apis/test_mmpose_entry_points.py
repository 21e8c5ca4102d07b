# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMPose's own inferencer and demo, unchanged, with this package's lifters."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

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


def test_mmpose_inferencer_lifts_what_it_found(inferencer):
    """Without the moved boxes its poses are this package's, its axes turned."""
    from mmpose.apis import convert_keypoint_definition

    takes = inferencer.inferencer.model.head.decoder.keypoint_set
    with DefaultScope.overwrite_default_scope('mmpose'):  # MMPose's inferencer leaves MMDet's
        lifter = init_lifter(skeleton=takes)
    options = dict(return_datasamples=True, nms_thr=1.0)
    num_compared = 0
    for image in noise_images(8):
        (result,) = inferencer(image, disable_norm_pose_2d=True, disable_rebase_keypoint=True, **options)
        turned = np.asarray(result['predictions'][0].pred_instances.keypoints).reshape(-1, 17, 3)
        theirs = np.stack([-turned[..., 0], -turned[..., 2], turned[..., 1]], -1)
        found = next(inferencer.inferencer.pose2d_model(image, merge_results=False, **options))['predictions']
        keypoints = np.concatenate([sample.pred_instances.keypoints for sample in found]).astype(np.float32)
        scores = np.ones(keypoints.shape[:2], np.float32)
        if takes == 'coco':
            scores[:, 1:5] = 0  # eyes and ears, which MMPose's conversion takes away
        else:
            keypoints = convert_keypoint_definition(keypoints, 'coco', 'h36m')
        ours = lift_keypoints(lifter, keypoints, scores, takes, Camera.from_fov(55, WIDTH, HEIGHT))
        for pose in ours.keypoints[ours.valid]:  # MMPose's order is that of its tracks
            num_compared += 1
            assert np.abs(theirs - pose).max((1, 2)).min() < 5e-3
    assert num_compared > 0


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
