# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of clips as JSON and NPZ."""

import json
from dataclasses import replace

import numpy as np
import pytest

from stereopose_mm.apis.clips.files import write_json, write_npz
from stereopose_mm.apis.clips.store import ClipStore
from stereopose_mm.geometry import H36M_17, PoseSequence

from ...made_sequence import make_sequence


@pytest.fixture(scope='module')
def clip():
    """Three people on 20 frames; one is not lifted on frame 4, nobody is on frame 7, and the ground is known."""
    whole = make_sequence(num_people=3, num_frames=20)
    whole.valid[13] = False
    for name in ('keypoints_cam', 'input_keypoints_cam', 'uncertainty', 'reprojection_error', 'search_residual'):
        getattr(whole, name)[13] = np.nan
    clip = whole.select(whole.frame != 7)
    return replace(clip, world_translation=np.array([0, 0, 1.5]), grounded=True)


@pytest.fixture
def stage(clip, tmp_path):
    stage = ClipStore(tmp_path / 'parts', {}).stage('finished')
    for part in (slice(0, 3), slice(3, 8), slice(8, 20)):
        stage.append(clip.select_frames(part), {})
    return stage


def test_npz_is_the_clip(clip, stage, tmp_path):
    write_npz(tmp_path / 'clip.npz', stage)
    with np.load(tmp_path / 'clip.npz', allow_pickle=False) as file:
        read = PoseSequence.from_arrays(file)
        np.testing.assert_array_equal(file['keypoints_world'], clip.keypoints_world)
        assert file['joint_names'].tolist() == list(H36M_17.joint_names)
    for name, value in clip.to_arrays().items():
        np.testing.assert_array_equal(read.to_arrays()[name], value, err_msg=name)


def test_json_has_the_schema_of_mmpose_and_the_camera_space(clip, stage, tmp_path):
    write_json(tmp_path / 'clip.json', stage, {'source': 'walk.mp4'})
    text = (tmp_path / 'clip.json').read_text()
    assert 'NaN' not in text and 'Infinity' not in text
    data = json.loads(text)
    assert data['info']['source'] == 'walk.mp4'
    assert data['info']['world'] == {
        'rotation': clip.world_rotation.tolist(), 'translation': [0, 0, 1.5], 'grounded': True,
    }  # fmt: skip
    assert data['meta_info']['keypoint_id2name']['0'] == 'root'
    frames = data['instance_info']
    assert [f['frame_id'] for f in frames] == list(range(1, 21))
    assert [len(f['instances']) for f in frames] == [3] * 7 + [0] + [3] * 12
    assert frames[0]['camera']['width'] == 1280 and frames[0]['camera']['distortion'] is None
    person = frames[19]['instances'][2]
    np.testing.assert_allclose(person['keypoints_cam'], clip.keypoints_cam[-1], atol=1e-5)
    np.testing.assert_allclose(person['keypoints'], clip.keypoints_cam[-1] - clip.keypoints_cam[-1, 0], atol=2e-5)
    np.testing.assert_allclose(person['keypoints_world'], clip.keypoints_world[-1], atol=1e-5)
    np.testing.assert_allclose(person['bbox'], clip.bboxes[-1], atol=1e-4)
    assert person['track_id'] == 2 and person['valid'] is True
    lost = frames[4]['instances'][1]
    assert lost['valid'] is False and lost['keypoints'] is None and lost['keypoints_cam'] is None
    assert len(lost['input_keypoints']) == 17


def test_a_lens_is_told(clip, tmp_path):
    import torch

    lens = replace(clip, cameras=replace(clip.cameras, distortion=torch.tensor([0.1, 0.0, 0.0, 0.0])))
    stage = ClipStore(tmp_path / 'parts', {}).stage('finished')
    stage.append(lens, {})
    write_json(tmp_path / 'clip.json', stage, {})
    frame = json.loads((tmp_path / 'clip.json').read_text())['instance_info'][0]
    np.testing.assert_allclose(frame['camera']['distortion'], [0.1, 0, 0, 0], atol=1e-6)
