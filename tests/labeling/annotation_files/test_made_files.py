# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Formats of which there is no sample, in files that are made here in the official layouts."""

from pathlib import Path

import numpy as np
import pytest
from mmpose.registry import DATASETS
from mmpose.utils import register_all_modules
from scipy.io import savemat

from stereopose_mm.labeling.annotation_files import SOURCES, read_annotations
from stereopose_mm.labeling.annotations import Annotations
from tests.labeling.annotation_files.made_files import coco, person, record, write, write_mpii_mat


def _read(path: Path, **options: object) -> Annotations:
    return Annotations.concatenate(list(read_annotations(path, **options)))


def test_coco_wholebody_gives_the_body(tmp_path: Path):
    more = {
        'foot_kpts': person(6), 'face_kpts': person(68), 'lefthand_kpts': person(21), 'righthand_kpts': person(21),
        'segmentation': [],
    }  # fmt: skip
    path = write(tmp_path / 'whole.json', coco([record(7, **more)]))
    people = _read(path)
    register_all_modules(init_default_scope=True)
    theirs = DATASETS.build({'type': 'CocoWholeBodyDataset', 'ann_file': str(path), 'test_mode': True}).get_data_info(0)
    assert people.source.tolist() == ['coco_wholebody']
    np.testing.assert_array_equal(people.keypoints[0], theirs['keypoints'][0, :17])


@pytest.mark.parametrize('num', [26, 136])
@pytest.mark.parametrize('named', [True, False])
def test_halpe_gives_the_first_seventeen(num: int, named: bool, tmp_path: Path):
    names = [*SOURCES['coco'].keypoints, 'head', 'neck', 'hip', *(f'p{k}' for k in range(20, num))]
    path = write(tmp_path / 'halpe.json', coco([record(7, keypoints=person(num))], tuple(names) if named else None))
    file = read_annotations(path)
    people = next(iter(file))
    assert (file.format, file.keypoint_set) == ('halpe', 'coco')
    np.testing.assert_array_equal(people.keypoints[0].ravel(), np.array(person(17)).reshape(-1, 3)[:, :2].ravel())


def test_official_aic(tmp_path: Path):
    keypoints = person(14, 1)
    keypoints[2], keypoints[3 * 6 + 2], keypoints[3 * 8 + 2] = 2, 2, 3  # two hidden, one not in the picture
    path = write(
        tmp_path / 'aic.json',
        [
            {
                'url': 'x', 'image_id': 'abc',
                'human_annotations': {'human1': [90, 80, 150, 200], 'human2': [1, 2, 3, 4]},
                'keypoint_annotations': {'human1': keypoints, 'human2': [0, 0, 3] * 14},
            }
        ],
    )  # fmt: skip
    file = read_annotations(path)
    people = next(iter(file))
    assert (file.format, file.num_people, file.num_unmarked) == ('aic', 1, 1)
    assert (people.record[0], people.file_name[0]) == ('abc/human1', 'abc.jpg')
    assert people.bbox[0].tolist() == [90, 80, 60, 120]
    # Right shoulder hidden, right ankle missing, the root as visible as the worse hip, mean of both.
    assert people.visibility[0, [14, 3, 0, 4]].tolist() == [1, 0, 1, 2]
    assert people.keypoints[0, 0].tolist() == [107.5, 115]
    assert people.scores[0, [14, 3, 4]].tolist() == pytest.approx([0.7, 0, 0.9])


@pytest.mark.parametrize('extended', [False, True])
@pytest.mark.parametrize('num', [1, 3])
def test_lsp_flags_mean_hidden_and_lspet_flags_mean_marked(extended: bool, num: int, tmp_path: Path):
    rows = np.array(person(14)).reshape(14, 3).T  # x, y, flag
    joints = np.repeat(rows[..., None], num, axis=2)
    joints[2] = 0
    joints[2, 5] = 1  # the left ankle: hidden in LSP
    if extended:
        joints[2] = 1 - joints[2]  # there, not marked
        joints = joints.transpose(1, 0, 2)
    savemat(tmp_path / 'joints.mat', {'joints': joints})
    file = read_annotations(tmp_path / 'joints.mat')
    people = next(iter(file))
    assert (file.format, len(people)) == (('lspet' if extended else 'lsp'), num)
    assert people.file_name[-1] == (f'im{num:05d}.jpg' if extended else f'im{num:04d}.jpg')
    assert people.visibility[0, [6, 3, 10]].tolist() == [0 if extended else 1, 2, 2]
    assert people.keypoints[0, 3].tolist() == [100, 100]
    assert people.keypoints[0, 10].tolist() == [113, 126]
    assert (people.problem == '').all()


def _mpii_points(leave_out: tuple = ()) -> list[tuple]:
    # As in the release: visibility as text or as number, and none of upper neck and head top.
    return [
        (k, 200.0 + k, 300.0 + 2 * k, None if k in (8, 9) else ('0' if k == 1 else 1))
        for k in range(16)
        if k not in leave_out
    ]


def test_official_mpii_agrees_with_mmposes_json(tmp_path: Path):
    one = {'points': _mpii_points(leave_out=(0, 6)), 'scale': 1.5, 'objpos': (210, 320)}
    unmarked = {'points': None, 'scale': 2.0, 'objpos': (1, 1)}
    path = write_mpii_mat(
        tmp_path / 'mpii_human_pose_v1_u12_1.mat',
        [('test.jpg', 0, [unmarked]), ('b.jpg', 1, [one, unmarked]), ('empty.jpg', 1, []), ('c.jpg', 1, [one])],
    )
    file = read_annotations(path)
    people = next(iter(file))
    assert (file.format, file.num_people, file.num_unmarked) == ('mpii', 2, 1)
    assert people.record.tolist() == ['2/1', '4/1']
    assert people.file_name.tolist() == ['b.jpg', 'c.jpg']
    # The pelvis is not marked: the mean of the hips (2 and 3) stands for it, counted from 0.
    assert people.keypoints[0, 0].tolist() == [201.5, 304]
    assert people.visibility[0, [2, 3, 10]].tolist() == [1, 0, 2]
    joints = {k: (x, y) for k, x, y, _ in one['points']}
    listed = {
        'image': 'b.jpg', 'scale': 1.5, 'center': [210.0, 320.0],
        'joints': [list(joints.get(k, (-1, -1))) for k in range(16)],
        'joints_vis': [int(k in joints) for k in range(16)],
    }  # fmt: skip
    same = _read(write(tmp_path / 'mpii_train.json', [listed]))
    np.testing.assert_array_equal(same.keypoints[0], people.keypoints[0])
    np.testing.assert_array_equal(same.bbox[0], people.bbox[0])


def test_results_with_names_and_low_scores(tmp_path: Path):
    keypoints = person(17, 0.8)
    keypoints[2] = 0.05
    keypoints[5] = 3.5
    results = [
        {'image_id': 'street 1.jpg', 'category_id': 1, 'keypoints': keypoints, 'score': 0.6},
        {'file_name': 'two.jpg', 'image_id': 5, 'category_id': 1, 'keypoints': person(26, 0.5)},
        {'image_id': 5, 'category_id': 3, 'keypoints': keypoints},
        {'image_id': 5, 'category_id': 1, 'keypoints': [0] * 51},
    ]
    file = read_annotations(write(tmp_path / 'results.json', results), batch_size=2)
    people = next(iter(file))
    assert (file.num_people, file.num_unmarked, file.num_other) == (2, 1, 1)
    assert people.file_name.tolist() == ['street 1.jpg', 'two.jpg']
    # What scores less than MIN_SCORE was not found; raw heat maps score more than 1.
    assert people.scores[0, :3].tolist() == pytest.approx([0, 1, 0.8])
    assert people.visibility[0, :3].tolist() == [0, 2, 2]
    assert np.isnan(people.person_score[1])


def test_images_of_one_number_in_two_folders_are_no_ones(tmp_path: Path):
    for name in ('a/0005.jpg', 'b/05.jpg', 'b/0006.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    results = [{'image_id': key, 'keypoints': person(17, 0.5)} for key in (5, 6, '05', 'a/0005.jpg', 9)]
    people = _read(write(tmp_path / 'results.json', results), images=tmp_path)
    assert people.file_name.tolist() == ['', 'b/0006.png', 'b/05.jpg', 'a/0005.jpg', '']
    assert people.problem.tolist() == ['no such image: 5', '', '', '', 'no such image: 9']
