# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import nn

from stereopose_mm.datasets.statistics import write_statistics
from stereopose_mm.engine import test as evaluate
from stereopose_mm.engine.accuracy import COMPETITORS
from stereopose_mm.engine.accuracy.conditions import CONDITIONS, make_test_set
from stereopose_mm.engine.accuracy.evaluating import (
    lift_pairs,
    load_lifter,
    mean_bone_length,
    oracle_poses,
    pose_errors,
)
from stereopose_mm.engine.accuracy.training import find_config, load_config
from stereopose_mm.geometry import p_mpjpe, root_relative

N = 64


COCO = 'configs/stereo_lift/stereo-lift_coco-res512_1xb*_mocap.py'
CASES = [(name, 'missing_3') for name in COMPETITORS] + [('ours', 'exact'), ('coco', 'coco_exact')]


@pytest.mark.parametrize(('name', 'condition'), CASES)
def test_errors_are_those_of_the_test_command(name, condition, mocap_files, test_config, project_root, tmp_path):
    """Networks as they start, on the same pairs: by MMEngine's Runner and MPJPEMetric, and by the benchmark."""
    takes_coco = name == 'coco'
    path = find_config(project_root / (COCO if takes_coco else COMPETITORS[name].config))
    base = {key: value for key, value in test_config.items() if key != 'type'} | dict(ann_file=mocap_files[takes_coco])
    test_set = make_test_set(CONDITIONS[condition], dict(type='MocapDataset', **base), N, converted=not takes_coco)
    overrides = CONDITIONS[condition].overrides
    options = {f'test_dataloader.dataset.{key}': value for key, value in {**base, **overrides, 'num_pairs': N}.items()}
    # Small: what is told apart is not the networks.
    width = dict(stem_channels=16) if 'pose' in name or 'simple' in name else dict(width=16)
    options |= {f'model.backbone.{key}': value for key, value in width.items()}
    options['model.head.in_channels' if 'stem_channels' in width else 'model.head.width'] = 16
    files = {}
    if name == 'pixel':
        small = load_config(path, {'data/mocap/mocap.npz': mocap_files[0]})
        small.train_dataloader.dataset.exclude = []
        small.dump(tmp_path / 'small.py')
        write_statistics(str(tmp_path / 'small.py'), str(tmp_path / 'statistics.json'), num_pairs=64)
        files['data/mocap/stereo_statistics.json'] = str(tmp_path / 'statistics.json')
    config = load_config(path, files, options)
    config.dump(tmp_path / 'config.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = MODELS.build(config.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    expected = evaluate(str(tmp_path / 'config.py'), str(tmp_path / 'weights.pth'), work_dir=str(tmp_path))
    lifted = lift_pairs(load_lifter(config, tmp_path / 'weights.pth'), test_set.pairs)
    errors = pose_errors(lifted.pose, lifted.target)
    assert len(lifted.pose) == N and expected['MPJPE'] > 100
    for error, values in errors.items():
        assert float(values.mean()) == pytest.approx(expected[error], abs=0.01)
    assert name == 'simplebaseline3d' or name == 'videopose3d' or not torch.equal(lifted.pose, lifted.coarse)


def test_a_checkpoint_of_another_network_is_named(tmp_path, project_root):
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), path)
    config = load_config(project_root / COMPETITORS['ours'].config, {})
    with pytest.raises(ValueError, match='other.pth: not a checkpoint of its config'):
        load_lifter(config, path)


class _Scaled(nn.Module):
    """A lifter that knows every pose, but takes all bodies to be of one size, and flattens them."""

    def __init__(self, pairs, size, squeeze):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.backbone, self.head = nn.Identity(), nn.Identity()
        self.head.decoder = KEYPOINT_CODECS.build(dict(type='mmpose.StereoPoseLifting'))
        self.head.search = MODELS.build(dict(type='mmpose.GeometricSearch'))
        rotation = self.head.decoder.encode_batch(pairs.keypoints, None, pairs.camera)['view_rotation']
        pose = root_relative(pairs.pose_cam) @ rotation.mT
        pose = pose * (size / mean_bone_length(pose))[:, None, None]
        self.head.forward = lambda features: pose * pose.new_tensor([1.0, 1.0, squeeze])


def oracle_errors(test_set, size, squeeze):
    pairs = test_set.pairs
    target = root_relative(pairs.pose_cam)
    told = oracle_poses(_Scaled(pairs, size, squeeze), pairs)
    return {name: float(pose_errors(pose, target)['MPJPE'].mean()) for name, pose in told.items()}, told


def test_the_oracles_take_away_what_they_tell(test_config):
    test_set = make_test_set(CONDITIONS['exact'], test_config, N)
    errors, told = oracle_errors(test_set, size=0.2, squeeze=1.0)
    # Only the size was wrong: told it, or both, nothing is left; the picture alone does not tell it.
    assert errors['the mean bone length'] == pytest.approx(0, abs=0.05) and errors['both'] == pytest.approx(0, abs=0.05)
    assert errors['nothing'] > 5
    shape = p_mpjpe(told['nothing'], root_relative(test_set.pairs.pose_cam))
    assert float(shape.max()) < 1e-4
    # With the root's depth alone joints are on their rays, at depths of a body of the wrong size.
    assert 0 < errors["the root's depth"] < errors['nothing']


def test_errors_are_in_millimetres():
    target = torch.randn(5, 17, 3)
    pose = target + torch.tensor([0.003, 0.0, 0.004])
    errors = pose_errors(pose, target)
    torch.testing.assert_close(errors['MPJPE'], torch.full((5,), 5.0, dtype=torch.float64), rtol=1e-4, atol=1e-3)
    assert float(errors['P-MPJPE'].max()) < 1e-3 and json.dumps(list(errors)) == '["MPJPE", "P-MPJPE", "N-MPJPE"]'
