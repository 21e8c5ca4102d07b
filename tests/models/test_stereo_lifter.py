# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import copy

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpose.evaluation.metrics import MPJPE
from mmpose.registry import KEYPOINT_CODECS, METRICS, MODELS

from stereopose_mm.geometry import COCO_17, body_skeleton
from stereopose_mm.models import GeometricSearch, StereoLifter, ViewSynthesisNet, fold_batch_norm

K = 17
SIZES = [1, 3, 1, 4]


def test_built_from_the_registry(build_lifter, make_batch):
    lifter = build_lifter()
    assert type(lifter).__name__ == 'PoseLifter' and lifter.causal
    assert isinstance(lifter.backbone, ViewSynthesisNet) and isinstance(lifter.head, StereoLifter)
    assert isinstance(lifter.head.search, GeometricSearch)
    inputs, _, _ = make_batch([5])
    assert lifter(inputs, None, mode='tensor').shape == (5, K, 3)


def test_losses(build_lifter, make_batch):
    lifter = build_lifter().eval()
    inputs, samples, _ = make_batch(SIZES)
    losses = lifter(inputs, samples, mode='loss')
    assert losses.keys() == {'loss_pose3d', 'loss_view', 'mpjpe'}
    labels = {
        key: torch.cat([s.gt_instance_labels[key] for s in samples])
        for key in ('lifting_target_label', 'right_view_label')
    }
    (features,) = lifter.backbone(inputs)
    pose_error = (lifter.head((features,)) - labels['lifting_target_label']).norm(dim=-1).mean()
    torch.testing.assert_close(losses['loss_pose3d'], pose_error)
    torch.testing.assert_close(losses['mpjpe'], pose_error)
    right = features[:, 52:, 0].unflatten(-1, (K, 2))
    torch.testing.assert_close(losses['loss_view'], (right - labels['right_view_label']).norm(dim=-1).mean())
    assert losses['loss_pose3d'].requires_grad and not losses['mpjpe'].requires_grad


def test_losses_leave_unlabelled_joints_out(build_lifter, make_batch):
    lifter = build_lifter().eval()
    inputs, samples, _ = make_batch([4])
    labels = samples[0].gt_instance_labels
    labels.lifting_target_weight[:, 5] = 0
    labels.right_view_weight[1] = 0
    before = lifter(inputs, samples, mode='loss')
    labels.lifting_target_label[:, 5] = 1e3
    labels.right_view_label[1] = 1e3
    after = lifter(inputs, samples, mode='loss')
    for key in before:
        torch.testing.assert_close(after[key], before[key])


def test_a_sample_of_many_instances_is_as_many_samples(build_lifter, make_batch):
    lifter = build_lifter().eval()
    one, many = (lifter(*make_batch(sizes)[:2], mode='loss') for sizes in ([9], [1] * 9))
    for key in one:
        torch.testing.assert_close(one[key], many[key])


def test_loss_weights_come_from_the_config(build_lifter, make_batch):
    batch = make_batch([6])[:2]
    half = build_lifter(loss_view=dict(type='MPJPELoss', use_target_weight=True, loss_weight=0.5)).eval()
    whole = build_lifter().eval()
    torch.testing.assert_close(half(*batch, mode='loss')['loss_view'] * 2, whole(*batch, mode='loss')['loss_view'])


@pytest.mark.parametrize('mono', [False, True])
def test_losses_decrease(build_lifter, make_batch, mono):
    changes = dict(backbone=dict(synthesize=False), in_channels=52, loss_view=None) if mono else {}
    lifter = build_lifter(**changes).train()
    inputs, samples, _ = make_batch([64])
    optimizer = torch.optim.Adam(lifter.parameters(), lr=5e-3)
    history = []
    for _ in range(40):
        losses = lifter(inputs, samples, mode='loss')
        total, log = lifter.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append({key: value.item() for key, value in log.items()})
    keys = {'loss', 'loss_pose3d', 'mpjpe'} | (set() if mono else {'loss_view'})
    assert history[0].keys() == keys
    assert all(history[-1][key] < 0.75 * history[0][key] for key in keys)
    assert history[0]['loss'] == pytest.approx(history[0]['loss_pose3d'] + history[0].get('loss_view', 0), rel=1e-5)


def test_view_synthesis_learns_from_both_losses(build_lifter, make_batch):
    lifter = build_lifter(loss_view=None)
    inputs, samples, _ = make_batch([16])
    lifter(inputs, samples, mode='loss')['loss_pose3d'].backward()
    assert lifter.backbone.net.stem[0].weight.grad.abs().sum() > 0


def test_max_norm_of_both_subnetworks(build_lifter, make_batch):
    lifter = build_lifter(backbone=dict(max_norm=0.3), max_norm=0.2).train()
    lifter(*make_batch([8])[:2], mode='loss')
    assert lifter.backbone.net.stem[0].weight.norm(dim=1).max() <= 0.3 + 1e-5
    assert lifter.head.net.stem[0].weight.norm(dim=1).max() <= 0.2 + 1e-5


def test_folded_lifter_predicts_the_same(build_lifter, make_batch):
    lifter = build_lifter(dropout=0.3).train()
    inputs, samples, _ = make_batch([32])
    lifter(inputs, samples, mode='loss')
    folded = fold_batch_norm(copy.deepcopy(lifter.eval()))
    torch.testing.assert_close(folded(inputs, None, mode='tensor'), lifter(inputs, None, mode='tensor'))


def test_predictions_have_a_row_for_each_instance(build_lifter, make_batch):
    lifter = build_lifter().eval()
    inputs, samples, pose = make_batch(SIZES)
    with torch.no_grad():
        results = lifter(inputs, samples, mode='predict')
    assert len(results) == 4
    start = 0
    for size, result in zip(SIZES, results, strict=True):
        found = result.pred_instances
        assert len(found) == size
        shapes = dict(keypoints=(size, K, 3), keypoints_cam=(size, K, 3), keypoint_scores=(size, K))
        shapes |= dict(input_keypoints_cam=(size, K, 3), used=(size, K))
        shapes |= {key: (size,) for key in ('root_depth', 'reprojection_error', 'search_residual')}
        assert set(found.keys()) == set(shapes)
        for key, shape in shapes.items():
            assert isinstance(found[key], np.ndarray) and found[key].shape == shape
            assert np.isfinite(found[key]).all()
        # Root-relative, at the ground truth's root; absolute, on the rays.
        true_root = pose[start : start + size, 0].numpy()
        np.testing.assert_allclose(found.keypoints[:, 0], true_root, atol=1e-5)
        relative = found.keypoints_cam - found.keypoints_cam[:, :1]
        np.testing.assert_allclose(found.keypoints - true_root[:, None], relative, atol=1e-5)
        np.testing.assert_allclose(found.keypoints_cam[:, 0, 2], found.root_depth, rtol=1e-6)
        np.testing.assert_array_equal(found.input_keypoints_cam, found.keypoints_cam)
        start += size
    # Each instance is what it is alone.
    alone = lifter(*make_batch([1] * 9)[:2], mode='predict')
    together = np.concatenate([r.pred_instances.keypoints_cam for r in results])
    one_by_one = np.concatenate([r.pred_instances.keypoints_cam for r in alone])
    np.testing.assert_allclose(together, one_by_one, rtol=1e-4, atol=1e-5)


def test_a_perfect_network_predicts_the_truth(build_lifter, make_batch, monkeypatch):
    lifter = build_lifter().eval()
    inputs, samples, pose = make_batch(SIZES)
    truth = torch.cat([s.gt_instance_labels.lifting_target_label for s in samples])
    monkeypatch.setattr(lifter.head, 'forward_uncertain', lambda feats: (truth, None))
    results = lifter(inputs, samples, mode='predict')
    for key in ('keypoints', 'keypoints_cam'):
        found = np.concatenate([r.pred_instances[key] for r in results])
        np.testing.assert_allclose(found, pose.numpy(), atol=2e-4)
    assert max(r.pred_instances.reprojection_error.max() for r in results) < 0.01
    processed = [r.to_dict() for r in results]
    for metric in (METRICS.build(dict(type='MPJPEMetric')), MPJPE(mode='mpjpe'), MPJPE(mode='p-mpjpe')):
        metric.process({}, processed)
        errors = metric.compute_metrics(metric.results)
        assert errors.get('MPJPE', errors.get('P-MPJPE')) < (3e-4 if isinstance(metric, MPJPE) else 0.3)  # m, mm


def test_without_a_target_keypoints_are_root_relative(build_lifter, make_batch):
    results = build_lifter().eval()(*make_batch([2], with_target=False)[:2], mode='predict')
    np.testing.assert_allclose(results[0].pred_instances.keypoints[:, 0], 0, atol=1e-6)
    assert (results[0].pred_instances.keypoints_cam[:, 0, 2] > 0).all()


def test_without_a_search_the_coarse_pose_stands(build_lifter, make_batch):
    lifter = build_lifter(search=None).eval()
    inputs, samples, pose = make_batch([3])
    found = lifter(inputs, samples, mode='predict')[0].pred_instances
    assert set(found.keys()) == {'keypoints', 'keypoint_scores'}
    labels = samples[0].gt_instance_labels
    with torch.no_grad():
        coarse = KEYPOINT_CODECS.build(dict(type='StereoPoseLifting')).decode_batch(
            lifter(inputs, None, mode='tensor'), labels.view_rotation
        )
    np.testing.assert_allclose(found.keypoints, (coarse + pose[:, :1]).detach().numpy(), atol=1e-5)


def test_where_the_search_fails_the_coarse_pose_stands(build_lifter, make_batch):
    lifter = build_lifter().eval()
    inputs, samples, _ = make_batch([3])
    samples[0].gt_instance_labels.search_weight[1, 2:] = 0
    found = lifter(inputs, samples, mode='predict')[0].pred_instances
    assert np.isfinite(found.keypoints).all()
    assert np.isnan(found.keypoints_cam).all((1, 2)).tolist() == [False, True, False]
    assert np.isnan(found.root_depth).tolist() == [False, True, False]
    coarse = build_lifter(search=None).eval()(inputs, samples, mode='predict')[0].pred_instances
    np.testing.assert_allclose(found.keypoints[1], coarse.keypoints[1], atol=1e-5)


def test_both_evaluators_agree(build_lifter, make_batch):
    results = [r.to_dict() for r in build_lifter().eval()(*make_batch(SIZES)[:2], mode='predict')]
    ours = METRICS.build(dict(type='MPJPEMetric'))
    ours.process({}, results)
    metrics = ours.compute_metrics(ours.results)
    assert metrics['poses'] == 9 and metrics['MRPE'] > 0 and metrics['reprojection-error-px'] < 0.1
    for mode in ('mpjpe', 'p-mpjpe'):
        theirs = MPJPE(mode=mode)
        theirs.process({}, results)
        expected = theirs.compute_metrics(theirs.results)
        assert metrics[mode.upper()] == pytest.approx(1000 * expected[mode.upper()], rel=1e-3)  # mm and m
        assert expected[f'{mode.upper()}_Walking'] == expected[mode.upper()]


def test_state_is_saved_and_loaded(build_lifter, make_batch, tmp_path):
    lifter, other = build_lifter(0).eval(), build_lifter(1).eval()
    inputs, _, _ = make_batch([4])
    torch.save(lifter.state_dict(), tmp_path / 'lifter.pth')
    assert not torch.allclose(lifter(inputs, None), other(inputs, None))
    other.load_state_dict(torch.load(tmp_path / 'lifter.pth', weights_only=True), strict=True)
    assert torch.equal(lifter(inputs, None), other(inputs, None))


def test_what_predict_cannot_do(build_lifter, make_batch):
    inputs, samples, _ = make_batch([2])
    with pytest.raises(RuntimeError, match='needs a decoder'):
        build_lifter(decoder=None, search=None)(inputs, samples, mode='predict')
    lifter = build_lifter()
    lifter.test_cfg = dict(flip_test=True)
    for sample in samples:
        sample.set_metainfo(dict(flip_indices=list(range(K))))
    with pytest.raises(NotImplementedError, match='flip_test'):
        lifter.head.predict([(inputs,), (inputs,)], samples)


def test_unknown_component_is_named(build_lifter):
    with DefaultScope.overwrite_default_scope('mmpose'), pytest.raises(KeyError, match='NoSuchSearch'):
        build_lifter(search=dict(type='NoSuchSearch'))
    assert MODELS.get('StereoLifter') is StereoLifter


def with_uncertainty(build_lifter, **changes):
    return build_lifter(loss_uncertainty=dict(type='DepthUncertaintyLoss', loss_weight=0.1), **changes)


def test_a_perfect_network_predicts_the_truth_of_coco(build_lifter, make_batch, monkeypatch):
    lifter = build_lifter(keypoint_set='coco').eval()
    inputs, samples, pose = make_batch(SIZES, keypoint_set='coco')
    truth = torch.cat([s.gt_instance_labels.lifting_target_label for s in samples])
    monkeypatch.setattr(lifter.head, 'forward_uncertain', lambda feats: (truth, None))
    found = {
        key: np.concatenate([r.pred_instances[key] for r in lifter(inputs, samples, mode='predict')])
        for key in ('keypoints', 'keypoints_cam', 'input_keypoints_cam', 'keypoint_scores', 'reprojection_error')
    }
    for key in ('keypoints', 'keypoints_cam'):
        np.testing.assert_allclose(found[key], pose[:, :K].numpy(), atol=2e-4)
    np.testing.assert_allclose(found['input_keypoints_cam'], pose[:, K:].numpy(), atol=2e-4)
    assert found['reprojection_error'].max() < 0.01
    # COCO's scores are of its keypoints, not of the joints.
    assert found['keypoint_scores'].shape == (9, K) and (found['keypoint_scores'] == 1).all()


def test_coco_losses_are_of_both_sets_and_the_right_view_of_its_keypoints(build_lifter, make_batch):
    lifter = with_uncertainty(build_lifter, keypoint_set='coco').eval()
    inputs, samples, _ = make_batch(SIZES, keypoint_set='coco')
    losses = lifter(inputs, samples, mode='loss')
    assert losses.keys() == {'loss_pose3d', 'loss_view', 'loss_uncertainty', 'mpjpe'}
    labels = {
        key: torch.cat([s.gt_instance_labels[key] for s in samples])
        for key in ('lifting_target_label', 'right_view_label')
    }
    features = lifter.backbone(inputs)
    pose, deviation = lifter.head.forward_uncertain(features)
    assert pose.shape == (9, 2 * K, 3) and deviation.shape == (9, 2 * K)
    target = labels['lifting_target_label']
    torch.testing.assert_close(losses['loss_pose3d'], (pose - target).norm(dim=-1).mean())
    right = features[0][:, 52:, 0].unflatten(-1, (K, 2))
    torch.testing.assert_close(losses['loss_view'], (right - labels['right_view_label']).norm(dim=-1).mean())
    error = (pose - target)[..., 2].abs()
    torch.testing.assert_close(losses['loss_uncertainty'], 0.1 * (error / deviation + deviation.log()).mean())


@pytest.mark.parametrize('keypoint_set', ['h36m', 'coco'])
def test_uncertainty_is_predicted_for_the_joints_and_scaled(build_lifter, make_batch, keypoint_set):
    lifter = with_uncertainty(build_lifter, keypoint_set=keypoint_set).eval()
    inputs, samples, _ = make_batch(SIZES, keypoint_set=keypoint_set)
    pose, deviation = lifter.head.forward_uncertain(lifter.backbone(inputs))
    torch.testing.assert_close(lifter.head(lifter.backbone(inputs)), pose)
    assert (deviation > 0).all() and deviation.std() > 0
    found = [r.pred_instances.uncertainty for r in lifter(inputs, samples, mode='predict')]
    assert [len(f) for f in found] == SIZES
    np.testing.assert_allclose(np.concatenate(found), deviation[:, :K].detach().numpy(), rtol=1e-5)
    lifter.head.uncertainty_scale.fill_(2.5)
    scaled_pose, scaled = lifter.head.forward_uncertain(lifter.backbone(inputs))
    torch.testing.assert_close(scaled, 2.5 * deviation)
    assert torch.equal(scaled_pose, pose)
    # The loss is of the deviation as trained.
    losses = [lifter(inputs, samples, mode='loss')['loss_uncertainty']]
    lifter.head.uncertainty_scale.fill_(1.0)
    losses.append(lifter(inputs, samples, mode='loss')['loss_uncertainty'])
    assert losses[0] == losses[1]


def test_uncertainty_is_bounded(build_lifter, make_batch):
    lifter = with_uncertainty(build_lifter).eval()
    features = lifter.backbone(make_batch([4])[0])
    for bias, log in ((1e3, 2.0), (-1e3, -9.0)):
        torch.nn.init.constant_(lifter.head.net.output.bias, bias)
        torch.testing.assert_close(lifter.head.forward_uncertain(features)[1], torch.full((4, K), np.exp(log)).float())


def test_only_a_lifter_with_uncertainty_has_a_scale(build_lifter):
    without, with_it = build_lifter().state_dict(), with_uncertainty(build_lifter).state_dict()
    assert 'head.uncertainty_scale' not in without
    assert with_it['head.uncertainty_scale'] == 1
    assert with_it.keys() - without.keys() == {'head.uncertainty_scale'}
    assert build_lifter().head.forward_uncertain((torch.rand(2, 86, 1),))[1] is None


@pytest.mark.parametrize('detach', [True, False])
def test_the_pose_heeds_the_uncertainty_only_if_asked_to(build_lifter, make_batch, detach):
    lifter = build_lifter(loss_uncertainty=dict(type='DepthUncertaintyLoss', detach=detach)).eval()
    inputs, samples, _ = make_batch([16])
    lifter(inputs, samples, mode='loss')['loss_uncertainty'].backward()
    gradient = lifter.head.net.output.bias.grad
    of_pose, of_deviation = gradient[: 3 * K].view(K, 3), gradient[3 * K :]
    assert (of_deviation != 0).all()
    assert (of_pose[:, :2] == 0).all()
    assert (of_pose[:, 2] == 0).all() if detach else (of_pose[:, 2] != 0).any()


def test_uncertain_joints_weigh_less_in_the_search_if_asked_to(build_lifter, make_batch):
    inputs, samples, _ = make_batch([6])
    depths = []
    for power in (0.0, 1.0):
        lifter = with_uncertainty(build_lifter, search=dict(type='GeometricSearch', uncertainty_power=power)).eval()
        depths.append(lifter(inputs, samples, mode='predict')[0].pred_instances.root_depth)
    assert np.abs(depths[1] - depths[0]).max() > 1e-3


def mirror_input(x, flip):
    """The ray view of the mirrored pose, written out: x and y pairs, scores, the rest."""
    points, scores, rest = x[:, : 2 * K, 0].view(-1, K, 2), x[:, 2 * K : 3 * K, 0], x[:, 3 * K :, 0]
    points = points[:, list(flip)] * torch.tensor([-1.0, 1.0])
    return torch.cat([points.flatten(1), scores[:, list(flip)], rest], 1)[..., None]


@pytest.mark.parametrize('keypoint_set', ['h36m', 'coco'])
def test_flip_test_is_the_mean_of_both_and_mirrors_with_the_input(build_lifter, make_batch, keypoint_set):
    channels = dict(in_channels=86 + (32 if keypoint_set == 'h36m' else 36))
    plain, lifter = (
        with_uncertainty(
            build_lifter,
            backbone=dict(bone_lengths=keypoint_set, flip_test=flip),
            keypoint_set=keypoint_set,
            **channels,
        ).eval()
        for flip in (False, True)
    )
    lifter.load_state_dict(plain.state_dict())
    inputs, samples, _ = make_batch([7], keypoint_set=keypoint_set)
    inputs[:, 2 * K : 3 * K] = torch.rand(7, K, 1, generator=torch.Generator().manual_seed(0))
    keypoint_flip = (COCO_17 if keypoint_set == 'coco' else body_skeleton(K)).flip_indices
    joint_flip = list(body_skeleton(K if keypoint_set == 'h36m' else 2 * K).flip_indices)
    mirror = torch.tensor([-1.0, 1.0, 1.0])

    def run(model, x):
        return model.head.forward_uncertain(model.backbone(x))

    pose, deviation = run(plain, inputs)
    mirrored, mirrored_deviation = run(plain, mirror_input(inputs, keypoint_flip))
    found, found_deviation = run(lifter, inputs)
    torch.testing.assert_close(found, (pose + mirrored[:, joint_flip] * mirror) / 2)
    torch.testing.assert_close(found_deviation, (deviation * mirrored_deviation[:, joint_flip]).sqrt())
    # What it finds of the mirrored pose is the mirror image, which one view alone does not.
    flipped, flipped_deviation = run(lifter, mirror_input(inputs, keypoint_flip))
    torch.testing.assert_close(flipped, found[:, joint_flip] * mirror, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flipped_deviation, found_deviation[:, joint_flip], rtol=1e-4, atol=1e-5)
    assert (mirrored - pose[:, joint_flip] * mirror).abs().max() > 1e-2
    # Losses, and training, are of the one view.
    for key, value in plain(inputs, samples, mode='loss').items():
        torch.testing.assert_close(lifter(inputs, samples, mode='loss')[key], value)
    assert len(lifter.train().backbone(inputs)) == 1 and len(lifter.eval().backbone(inputs)) == 2


def test_flip_test_needs_to_know_the_keypoints(build_lifter):
    with pytest.raises(ValueError, match='flip_test takes bone_lengths, which names the keypoint set'):
        build_lifter(backbone=dict(flip_test=True))
