# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Records that cannot be labelled have a problem; those beside them are read as if they were not there."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from stereopose_mm.labeling.annotation_files import PROBLEMS, SOURCES, read_annotations
from stereopose_mm.labeling.annotations import Annotations
from stereopose_mm.labeling.records import read_annotation_shard, write_annotations
from tests.labeling.annotation_files.made_files import coco, person, record, write, write_mpii_mat


def _few(num: int) -> list:
    keypoints = person()
    keypoints[3 * num :] = [0] * (51 - 3 * num)
    return keypoints


def _with(index: int, value: object) -> list:
    keypoints = person()
    keypoints[index] = value
    return keypoints


BAD = {
    'NaN': ({'keypoints': _with(3, float('nan'))}, 'not finite: left_eye'),
    'infinite': ({'keypoints': _with(51 - 2, float('inf'))}, 'not finite: right_ankle'),
    'too large for a float': ({'keypoints': _with(0, 10**400)}, 'not finite: nose'),
    'text': ({'keypoints': _with(3, '12')}, 'not finite: keypoints takes numbers'),
    'null': ({'keypoints': _with(4, None)}, 'not finite: keypoints takes numbers'),
    'three keypoints': ({'keypoints': _few(3)}, 'too few keypoints: 3'),
    'no width': ({'bbox': [5, 5, 0, 10]}, 'empty box: 0 x 10'),
    'negative height': ({'bbox': [5, 5, 10, -2.5]}, 'empty box: 10 x -2.5'),
    'NaN box': ({'bbox': [5, float('nan'), 10, 10]}, 'not finite: bbox'),
    'short box': ({'bbox': [5, 5]}, 'not finite: bbox takes four numbers'),
    'too short': ({'keypoints': person(12)}, 'wrong number of keypoints: 36 values, takes 51'),
    'no list': ({'keypoints': 'abc'}, 'wrong number of keypoints: str, takes 51'),
    'nested': ({'keypoints': [[1, 2, 2]] * 17}, 'wrong number of keypoints: 17 values, takes 51'),
    'unknown flag': ({'keypoints': _with(2, 7)}, 'unknown flag: 7'),
    'unknown image': ({'image_id': 99}, 'no such image: 99'),
    'no image': ({'image_id': None}, 'no such image: None'),
    'crowd': ({'iscrowd': 1}, 'crowd'),
    'duplicate': ({'id': 1}, 'duplicate id: 1'),
    'half a surrogate pair as name': ({'id': 'a\ud800'}, 'unusable name: record'),
    'null character in its name': ({'id': 'a\0'}, 'unusable name: record'),
    'far outside': ({'keypoints': _with(0, -321)}, 'outside the image: nose at (-321, 100)'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_bad_record_is_named_and_empty(case: str, tmp_path: Path):
    changes, problem = BAD[case]
    path = write(tmp_path / 'bad.json', coco([record(1), record(2, **changes), record(3)]))
    file = read_annotations(path)
    people = Annotations.concatenate(list(file))
    assert file.num_people == len(people) == 3
    assert people.problem.tolist() == ['', problem, '']
    assert problem.split(':')[0] in PROBLEMS
    assert people.record[1] == ('a?' if problem.startswith('unusable') else str(changes.get('id', 2)))
    assert people.file_name[1] == ('' if problem.startswith('no such image') else 'a/one.jpg')
    for name in ('keypoints', 'visibility', 'scores', 'bbox'):
        assert not getattr(people, name)[1].any()
        np.testing.assert_array_equal(getattr(people, name)[0], getattr(people, name)[2])
        assert getattr(people, name)[0].any()


def test_what_is_not_bad(tmp_path: Path):
    good = [
        record(1, keypoints=_few(4)),
        record(2, bbox=None, iscrowd=False),
        record(3, keypoints=_with(0, -319)),
        record(None),
        {**record(5), 'keypoints': [*person()[:-3], float('nan'), float('nan'), 2]},
    ]
    people = Annotations.concatenate(list(read_annotations(write(tmp_path / 'good.json', coco(good)))))
    assert people.problem.tolist() == ['', '', '', '', 'not finite: right_ankle']
    assert people.record.tolist() == ['1', '2', '3', '3', '5']  # the position, where there is no id
    assert people.bbox[1].tolist() == [0, 0, 0, 0]


def test_unmarked_and_other_records_are_counted(tmp_path: Path):
    content = coco([record(1), record(2, keypoints=[0] * 51), record(3, keypoints=None), record(4, category_id=2)])
    file = read_annotations(write(tmp_path / 'a.json', content))
    assert (file.num_people, file.num_unmarked, file.num_other) == (1, 2, 1)
    assert [batch.record.tolist() for batch in file] == [['1']]


def test_missing_joints_are_masked(tmp_path: Path):
    keypoints = person()
    keypoints[15:18] = [123, 456, 0]  # coordinates of what is not marked mean nothing
    people = next(iter(read_annotations(write(tmp_path / 'a.json', coco([record(1, keypoints=keypoints)])))))
    assert people.keypoints[0, 5].tolist() == [0, 0]
    assert (people.visibility[0, 5], people.scores[0, 5]) == (0, 0)


def test_pixels_beyond_any_image_where_its_size_is_unknown(tmp_path: Path):
    images = [{'id': 1, 'file_name': 'one.jpg'}]
    content = coco([record(1, keypoints=_with(0, 3e6)), record(2, keypoints=_with(0, 9e5))], images=images)
    people = next(iter(read_annotations(write(tmp_path / 'a.json', content))))
    assert people.problem.tolist() == ['outside the image: nose at (3000000, 100)', '']


def test_h36m_takes_a_root(tmp_path: Path):
    names = SOURCES['crowdpose'].keypoints
    keypoints = person(14)
    keypoints[3 * names.index('left_hip') + 2] = 0
    content = coco([record(1, keypoints=keypoints), record(2, keypoints=person(14))], names)
    people = next(iter(read_annotations(write(tmp_path / 'a.json', content))))
    assert people.problem.tolist() == ['no root: neither pelvis nor both hips are marked', '']


def test_bad_mpii_records(tmp_path: Path):
    good = {'image': 'a.jpg', 'center': [150, 150], 'scale': 1.0, 'joints': [[100, 100]] * 16, 'joints_vis': [1] * 16}
    records = [
        good,
        {**good, 'joints': good['joints'][:12], 'joints_vis': [1] * 12},
        {**good, 'scale': 0},
        {**good, 'scale': 'x'},
        {**good, 'joints': [[100, float('nan')]] * 16},
        {**good, 'joints': [[100]] * 16},
        {**good, 'center': [-1, -1]},
        {**good, 'scale': 10**400},
        {**good, 'center': [10**400, 5]},
    ]
    people = next(iter(read_annotations(write(tmp_path / 'mpii.json', records))))
    assert people.problem.tolist() == [
        '', 'wrong number of keypoints: 36 values, takes 48', 'empty box: 0 x 0',
        'not finite: bbox takes four numbers', 'not finite: right_ankle',
        'wrong number of keypoints: 32 values, takes 48', '', 'not finite: bbox', 'not finite: bbox',
    ]  # fmt: skip


def test_bad_aic_records(tmp_path: Path):
    boxes = {'human1': [90, 80, 150, 200], 'human2': [1.5, 2, 10**400, 3], 'human3': [1, 2, 3]}
    keypoints = dict.fromkeys(boxes, person(14, 1))
    one = {'image_id': 'abc', 'human_annotations': boxes, 'keypoint_annotations': keypoints}
    people = next(iter(read_annotations(write(tmp_path / 'aic.json', [one, one]))))
    bad = ['', 'not finite: bbox', 'not finite: bbox takes four numbers']
    assert people.problem.tolist() == bad + ['duplicate id: abc'] * 3


def test_names_that_no_file_can_have(tmp_path: Path):
    names = ['dir/ä b.jpg', 'a\ud800.jpg', 'a\0.jpg', 'data:image/png;base64,' + 'A' * 100_000]
    images = [{'id': n, 'file_name': name, 'width': 640, 'height': 480} for n, name in enumerate(names)]
    content = coco([record(n, image_id=n) for n in range(4)], images=images)
    people = next(iter(read_annotations(write(tmp_path / 'a.json', content))))
    assert people.problem.tolist() == [''] + ['unusable name: file_name'] * 3
    assert people.file_name[:3].tolist() == ['dir/ä b.jpg', 'a?.jpg', 'a?.jpg']
    # Arrays of text are as wide as the longest.
    assert people.file_name.nbytes < 4 * 200 * 4
    write_annotations(people, tmp_path / 'people.parquet')
    assert read_annotation_shard(tmp_path / 'people.parquet').file_name.tolist() == people.file_name.tolist()


def test_bad_mat_records(tmp_path: Path):
    joints = np.repeat(np.array(person(14, 0), float).reshape(14, 3).T[..., None], 3, axis=2)
    joints[0, 2, 1] = np.nan
    joints[2, 2, 2] = 5
    savemat(tmp_path / 'joints.mat', {'joints': joints})
    people = next(iter(read_annotations(tmp_path / 'joints.mat')))
    assert people.problem.tolist() == ['', 'not finite: right_hip', 'unknown flag: 5']
    points = [(k, float('nan') if k == 3 else 50.0, 60.0, 1) for k in range(16)]
    rect = {'points': points, 'scale': 1.0, 'objpos': (50, 60)}
    path = write_mpii_mat(tmp_path / 'mpii.mat', [('a.jpg', 1, [rect, {**rect, 'points': points[10:13]}])])
    people = next(iter(read_annotations(path)))
    assert people.problem.tolist() == ['not finite: left_hip', 'too few keypoints: 3']


def test_bad_results(tmp_path: Path):
    good = {'image_id': 1, 'category_id': 1, 'keypoints': person(17, 0.5), 'score': 0.5}
    records = [good, {**good, 'score': float('nan')}, {**good, 'keypoints': person(12, 0.5)}, {**good, 'score': 'high'}]
    people = next(iter(read_annotations(write(tmp_path / 'r.json', records))))
    takes = '51 or 63 or 78 or 399 or 408'
    assert people.problem.tolist() == [
        '', 'not finite: score', f'wrong number of keypoints: 36 values, takes {takes}', 'not finite: score',
    ]  # fmt: skip
    assert np.isnan(people.person_score[1:]).all()


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)
_number = st.floats(-2e3, 2e3) | st.integers(-5, 5) | st.floats() | st.just(10**400)


@given(
    st.lists(
        st.fixed_dictionaries(
            {'image_id': st.sampled_from([1, 1, 1, 5, None, 'a'])},
            optional={
                'id': st.integers(0, 3) | _anything,
                'keypoints': st.lists(_number, min_size=51, max_size=51) | _anything,
                'bbox': st.lists(_number, min_size=4, max_size=4) | _anything,
                'iscrowd': _anything,
                'category_id': st.sampled_from([1, 1, 2]) | _anything,
            },
        ),
        max_size=6,
    ),
    st.integers(1, 4),
)
def test_no_record_breaks_a_file(tmp_path_factory, records: list, batch_size: int):
    path = write(tmp_path_factory.getbasetemp() / 'any.json', coco(records))
    file = read_annotations(path, batch_size=batch_size)
    batches = list(file)
    assert sum(map(len, batches)) == file.num_people
    assert file.num_people + file.num_unmarked + file.num_other == len(records)
    for batch in batches:
        assert np.isfinite(batch.keypoints).all()
        assert np.isfinite(batch.bbox).all()
        good = batch.problem == ''
        assert ((batch.visibility[good] > 0).sum(1) >= 4).all()
        assert not batch.keypoints[~good].any()
        assert all(text.split(':')[0] in PROBLEMS for text in batch.problem[~good])
