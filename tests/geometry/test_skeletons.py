# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from stereopose_mm.geometry import (
    COCO_17,
    H36M_17,
    H36M_COCO,
    SKELETONS,
    body_skeleton,
    get_skeleton,
    mapping_matrix,
    to_h36m_mapping,
)

NAMES = sorted(SKELETONS)
H36M = SKELETONS['h36m']


@pytest.fixture(params=NAMES)
def skeleton(request):
    return get_skeleton(request.param)


def metainfo_of(name):
    return parse_pose_metainfo(dict(from_file=f'configs/_base_/datasets/{name}.py'))


def test_names_and_mirror_images_are_those_of_mmpose(skeleton):
    info = metainfo_of(skeleton.name)
    assert skeleton.joint_names == tuple(info['keypoint_id2name'][k] for k in range(info['num_keypoints']))
    assert skeleton.num_keypoints == info['num_keypoints'] == 17
    assert list(skeleton.flip_indices) == list(info['flip_indices'])


@pytest.mark.parametrize('name', ['h36m', 'mpi_inf_3dhp'])
def test_bones_are_those_of_mmpose(name):
    links = {frozenset(link) for link in metainfo_of(name)['skeleton_links']}
    assert {frozenset(bone) for bone in SKELETONS[name].bones} == links


def test_left_and_right(skeleton):
    names = skeleton.joint_names
    assert {names[k] for k in skeleton.left} == {n for n in names if n.startswith('left_')}
    assert [names[k].replace('left_', 'right_') for k in skeleton.left] == [names[k] for k in skeleton.right]
    flip = skeleton.flip_indices
    assert [flip[f] for f in flip] == list(range(17))


def test_the_tree_is_symmetric(skeleton):
    flip = skeleton.flip_indices
    for joint, parent in enumerate(skeleton.parents):
        mirrored = skeleton.parents[flip[joint]]
        assert mirrored == (flip[parent] if parent >= 0 else -1)


def test_it_is_one_tree(skeleton):
    (root,) = (k for k, parent in enumerate(skeleton.parents) if parent == -1)
    assert skeleton.root in (root, None)
    assert (skeleton.root is None) == (skeleton.name == 'coco')
    assert len(skeleton.bones) == 16
    for joint in range(17):
        steps = 0
        while joint != root:
            joint, steps = skeleton.parents[joint], steps + 1
            assert steps < 17, 'a cycle'


def test_path_matrix_walks_the_tree(skeleton):
    g = torch.Generator().manual_seed(0)
    bones = torch.randn(17, 3, generator=g)
    expected = torch.zeros(17, 3)
    for joint in range(17):
        child = joint
        while skeleton.parents[child] >= 0:
            expected[joint] += bones[child]
            child = skeleton.parents[child]
    torch.testing.assert_close(skeleton.path_matrix @ bones, expected)
    # And back: a bone is the difference of its ends.
    pose = skeleton.path_matrix @ bones
    for parent, child in skeleton.bones:
        torch.testing.assert_close(pose[child] - pose[parent], bones[child])


def test_mapping_keeps_names_and_sides(skeleton):
    mapping = to_h36m_mapping(skeleton.name)
    alike = {'left_ankle': 'left_foot', 'right_ankle': 'right_foot'}
    for target, sources in mapping.items():
        wanted = H36M.joint_names[target]
        found = [alike.get(skeleton.joint_names[s], skeleton.joint_names[s]) for s in sources]
        if len(sources) == 1 and wanted.startswith(('left_', 'right_')):
            assert found == [wanted]
        flipped = sorted(skeleton.flip_indices[s] for s in sources)
        assert flipped == sorted(mapping[H36M.flip_indices[target]])


def test_mapping_of_the_middle_line():
    def named(name, target):
        return [SKELETONS[name].joint_names[s] for s in to_h36m_mapping(name)[H36M.index(target)]]

    assert sorted(named('coco', 'root')) == ['left_hip', 'right_hip']
    assert sorted(named('coco', 'thorax')) == ['left_shoulder', 'right_shoulder']
    assert named('coco', 'neck_base') == ['nose']
    assert named('mpi_inf_3dhp', 'root') == ['root']
    assert named('mpi_inf_3dhp', 'spine') == ['spine']
    assert named('mpi_inf_3dhp', 'thorax') == ['neck']
    assert named('mpi_inf_3dhp', 'neck_base') == ['head']
    assert named('mpi_inf_3dhp', 'head') == ['head_top']
    assert 'spine' not in {H36M.joint_names[k] for k in to_h36m_mapping('coco')}


def test_mapping_matrix_is_the_mapping(skeleton):
    matrix, has_source = mapping_matrix(skeleton.name)
    points = torch.randn(4, 17, 2, generator=torch.Generator().manual_seed(1))
    mapped = matrix @ points
    mapping = to_h36m_mapping(skeleton.name)
    assert has_source.tolist() == [k in mapping for k in range(17)]
    for target, sources in mapping.items():
        torch.testing.assert_close(mapped[:, target], points[:, list(sources)].mean(1))


def test_three_dimensional_sets_map_one_to_one():
    for name in ('h36m', 'mpi_inf_3dhp'):
        matrix, has_source = mapping_matrix(name)
        assert has_source.all()
        assert torch.equal(matrix @ matrix.T, torch.eye(17))


def test_a_mapping_that_was_changed_changes_nothing():
    to_h36m_mapping('coco').clear()
    assert len(to_h36m_mapping('coco')) == 15


def test_unknown_names():
    with pytest.raises(ValueError, match=r"unknown skeleton 'smpl': takes one of \['coco', 'h36m', 'mpi_inf_3dhp'\]"):
        get_skeleton('smpl')
    for function in (to_h36m_mapping, mapping_matrix):
        with pytest.raises(ValueError, match='unknown skeleton'):
            function('smpl')
    with pytest.raises(ValueError, match="coco has no keypoint 'pelvis'"):
        get_skeleton('coco').index('pelvis')


def test_both_sets_on_one_body():
    assert body_skeleton(17) is H36M_17 and body_skeleton(34) is H36M_COCO
    assert H36M_COCO.name not in SKELETONS, 'no detector gives it'
    assert H36M_COCO.joint_names[:17] == H36M_17.joint_names and H36M_COCO.parents[:17] == H36M_17.parents
    assert [name.removeprefix('coco_') for name in H36M_COCO.joint_names[17:]] == list(COCO_17.joint_names)
    assert H36M_COCO.flip_indices[:17] == H36M_17.flip_indices
    assert H36M_COCO.flip_indices[17:] == tuple(17 + k for k in COCO_17.flip_indices)
    assert H36M_COCO.root == 0 and len(set(H36M_COCO.joint_names)) == 34


def test_coco_keypoints_hang_from_their_joints():
    alike = {'left_ankle': 'left_foot', 'right_ankle': 'right_foot'}
    for index in range(17, 34):
        name = H36M_COCO.joint_names[index].removeprefix('coco_')
        parent = H36M_17.joint_names[H36M_COCO.parents[index]]
        assert parent == (alike.get(name, name) if alike.get(name, name) in H36M_17.joint_names else 'neck_base')
        mirrored = H36M_COCO.parents[H36M_COCO.flip_indices[index]]
        assert mirrored == H36M_COCO.flip_indices[H36M_COCO.parents[index]]
    # Each is one bone away from its joint.
    path = H36M_COCO.path_matrix
    assert torch.equal(path[17:, 17:], torch.eye(17))
    assert torch.equal(path[17:, :17], path[list(H36M_COCO.parents[17:]), :17])


@pytest.mark.parametrize('num', [0, 16, 18, 33])
def test_bodies_of_other_numbers_of_joints(num):
    with pytest.raises(ValueError, match=rf'takes poses of 17 joints .* or 34 .*, got {num}'):
        body_skeleton(num)
