# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from stereopose_mm.apis import read_detections
from stereopose_mm.geometry import COCO_17


def numbers(seed=0, score=0.5):
    values = np.random.default_rng(seed).uniform(10, 500, (17, 3)).round(2)
    values[:, 2] = score
    return values.ravel().tolist()


def record(seed=0, **changes):
    return {'image_id': 7, 'category_id': 1, 'keypoints': numbers(seed), 'score': 0.9, **changes}


@pytest.fixture
def write(tmp_path):
    def write_json(data):
        path = tmp_path / 'found.json'
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding='utf-8')
        return path

    return write_json


def test_reads_coco_results(write):
    path = write([record(0), record(1, image_id=8.0, file_name='b.jpg'), record(2, image_id='cam/3', score=None)])
    found = read_detections(path)
    expected = np.array(numbers(1)).reshape(17, 3)
    np.testing.assert_allclose(found.keypoints[1], expected[:, :2], rtol=1e-6)
    np.testing.assert_allclose(found.scores[1], expected[:, 2])
    assert found.image_ids == [7, 8, 'cam/3'] and found.file_names == [None, 'b.jpg', None]
    assert found.person_scores == [0.9, 0.9, None] and found.records == [0, 1, 2]
    assert (found.num_empty, found.num_other, len(found)) == (0, 0, 3)


def test_reads_boxes_and_tracks_of_coco_results(write):
    tracked = record(0, bbox=[1, 2, 10, 20], track_id=4)
    found = read_detections(write([record(keypoints=[0] * 51), tracked, record(1, bbox=[1, 2], track_id='x')]))
    assert found.tracks == [4, None] and found.frames == [None, None]
    assert found.bboxes[0].tolist() == [1, 2, 11, 22] and np.isnan(found.bboxes[1]).all()


def test_leaves_out_other_categories_and_people_without_keypoints(write):
    unscored = [0 if i % 3 == 2 else v for i, v in enumerate(numbers())]
    records = [
        record(category_id=18, keypoints=None), record(keypoints=[0] * 51), record(3), record(keypoints=unscored),
    ]  # fmt: skip
    found = read_detections(write(records))
    assert found.records == [2] and (found.num_empty, found.num_other) == (2, 1)


def test_a_negative_score_counts_as_zero(write):
    values = numbers()
    values[2] = -0.25
    found = read_detections(write([record(keypoints=values)]))
    assert found.scores[0, 0] == 0 and (found.scores[0, 1:] == 0.5).all()


def test_reads_coco_annotations(write):
    flags = numbers(score=2)
    flags[:3], flags[5] = [0, 0, 0], 1
    data = {
        'images': [{'id': 5, 'file_name': 'val/5.jpg'}],
        'annotations': [
            {'image_id': 5, 'category_id': 3, 'keypoints': flags},
            {'image_id': 5, 'category_id': 3, 'keypoints': [0] * 51},
            {'image_id': 5, 'category_id': 1},
        ],
        'categories': [{'id': 3, 'name': 'person', 'keypoints': COCO_17.joint_names}, {'id': 1, 'name': 'car'}],
    }
    found = read_detections(write(data))
    assert found.scores.tolist() == [[0] + [1] * 16]
    assert found.file_names == ['val/5.jpg'] and (found.num_empty, found.num_other) == (1, 1)


def test_refuses_annotations_of_other_keypoints(write):
    names = ('nose', 'head_bottom', 'head_top', *COCO_17.joint_names[3:])
    data = {'annotations': [record()], 'categories': [{'id': 1, 'name': 'person', 'keypoints': names}]}
    with pytest.raises(ValueError, match="found.json: categories: .* not COCO-17: it has 'head_bottom'"):
        read_detections(write(data))
    assert len(read_detections(write(data), 'h36m')) == 1


def nan_at(position, value='NaN'):
    text = json.dumps([record(), record()])
    parts = text.rsplit('"keypoints": [', 1)
    values = parts[1].split(', ')
    values[position] = value
    return parts[0] + '"keypoints": [' + ', '.join(values)


@pytest.mark.parametrize(
    'data, message',
    [
        ('', 'found.json: the file is empty'),
        ('[]', 'found.json: holds no record'),
        ('{"annotations": []}', 'found.json: holds no record'),
        ('[{', 'found.json: no readable JSON: .*line 1 column 3'),
        ('[' * 100_000, 'found.json: no readable JSON: nested too deeply'),
        ('"text"', 'found.json: takes a list of COCO results'),
        ([record(), 3], 'found.json: record 1: takes a dict, got int'),
        ([record(), record(keypoints=numbers()[:-1])], 'record 1: keypoints: takes 51 numbers, .* got 50 values'),
        ([record(), record(keypoints=None)], 'record 1: has no keypoints'),
        ([record(keypoints='x' * 51)], 'record 0: keypoints: takes 51 numbers, .* got str'),
        ([record(keypoints=['1'] * 51)], "record 0: keypoints: x of keypoint 0 takes a finite number .* got '1'"),
        ([record(keypoints=[True] * 51)], 'record 0: keypoints: x of keypoint 0 takes a finite number .* got True'),
        ([record(keypoints=[[1] * 51] * 51)], 'record 0: keypoints: x of keypoint 0 takes a finite number'),
        (nan_at(4), 'record 1: keypoints: y of keypoint 1 takes a finite number .* got nan'),
        (nan_at(50, '1e999]'), 'record 1: keypoints: score of keypoint 16 takes a finite number .* got inf'),
        (nan_at(4, '1' + '0' * 400), 'record 1: keypoints: y of keypoint 1 takes .* got 401 digits'),
        (nan_at(4, '1' + '0' * 5000), 'no readable JSON'),
        ([record(image_id=True)], 'record 0: image_id: takes a whole number or text, got True'),
        ([record(image_id=[1])], 'record 0: image_id: takes'),
        ([record(file_name=5)], 'record 0: file_name: takes text, got 5'),
        ({'annotations': [record()], 'images': [3]}, 'images: takes a list of dicts'),
        ({'annotations': [record()], 'categories': 3}, 'categories: takes a list'),
    ],
)  # fmt: skip
def test_bad_json_is_reported_with_file_and_record(write, data, message):
    with pytest.raises(ValueError, match=message):
        read_detections(write(data))


def test_unreadable_files_and_unknown_skeletons_are_reported(tmp_path, write):
    with pytest.raises(ValueError, match='nowhere.json: cannot be read: No such file'):
        read_detections(tmp_path / 'nowhere.json')
    (tmp_path / 'text.json').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ValueError, match='text.json: .*utf-8'):
        read_detections(tmp_path / 'text.json')
    with pytest.raises(ValueError, match="unknown skeleton 'hand'"):
        read_detections(write([record()]), 'hand')


@pytest.fixture
def save(tmp_path):
    def save_npz(**arrays):
        np.savez(tmp_path / 'found.npz', **arrays)
        return tmp_path / 'found.npz'

    return save_npz


KEYPOINTS = np.random.default_rng(0).uniform(10, 500, (3, 17, 2))


def test_reads_npz(save):
    found = read_detections(save(keypoints=KEYPOINTS))
    np.testing.assert_allclose(found.keypoints, KEYPOINTS, rtol=1e-6)
    assert (found.scores == 1).all() and found.image_ids == found.file_names == [None] * 3
    scored = np.concatenate([KEYPOINTS, np.full((3, 17, 1), 0.25)], -1)
    scored[1] = 0
    found = read_detections(save(keypoints=scored, image_id=[4, 5, 6], file_name=['a.jpg', 'b.jpg', '']))
    assert (found.scores == 0.25).all() and found.records == [0, 2] and found.num_empty == 1
    assert found.image_ids == [4, 6] and found.file_names == ['a.jpg', None]
    for name in ('scores', 'keypoint_scores'):
        found = read_detections(save(keypoints=scored, **{name: np.full((3, 17), 0.75, np.float32)}))
        assert (found.scores == 0.75).all()


def test_reads_frames_boxes_and_tracks_of_npz(save):
    scores = np.ones((3, 17))
    scores[1] = 0  # left out
    found = read_detections(
        save(keypoints=KEYPOINTS, scores=scores, frame=[0, 0, 5], track=[-1, 2, 3], bboxes=np.eye(3, 4))
    )
    assert found.frames == [0, 5] and found.tracks == [None, 3]
    assert found.bboxes.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def with_nan(array, index):
    array = array.copy()
    array[index] = np.nan
    return array


@pytest.mark.parametrize(
    'arrays, message',
    [
        ({'poses': KEYPOINTS}, r"found.npz: has no array keypoints, only \['poses'\]"),
        ({'keypoints': KEYPOINTS[:, :16]}, r'keypoints: takes \(N, 17, 2\) .* got \(3, 16, 2\)'),
        ({'keypoints': KEYPOINTS[:0]}, 'holds no record'),
        ({'keypoints': KEYPOINTS.astype(str)}, 'keypoints: takes numbers'),
        ({'keypoints': np.array([None] * 3)}, 'found.npz: no readable NPZ'),
        ({'keypoints': with_nan(KEYPOINTS, (2, 3, 0))}, 'record 2: keypoints: keypoint 3 takes finite numbers'),
        (
            {'keypoints': KEYPOINTS, 'scores': with_nan(np.ones((3, 17)), (1, 5))},
            'record 1: scores: keypoint 5 takes finite numbers',
        ),
        ({'keypoints': KEYPOINTS, 'scores': np.ones((3, 16))}, r'scores: takes \(3, 17\), got \(3, 16\)'),
        ({'keypoints': KEYPOINTS, 'image_id': np.arange(2)}, r'image_id: takes \(3,\), got \(2,\)'),
        ({'keypoints': KEYPOINTS, 'image_id': np.arange(3) + 0.5}, 'image_id: takes a whole number or text, got 0.5'),
    ],
)
def test_bad_npz_is_reported(save, arrays, message):
    with pytest.raises(ValueError, match=message):
        read_detections(save(**arrays))


@pytest.mark.parametrize('content', [b'', b'no archive', b'PK\x03\x04 cut short'])
def test_files_that_are_no_npz_are_reported(tmp_path, content):
    (tmp_path / 'found.npz').write_bytes(content)
    with pytest.raises(ValueError, match='found.npz: no readable NPZ'):
        read_detections(tmp_path / 'found.npz')


def test_reads_real_detections(shared_data):
    found = read_detections(shared_data / 'real/coco/movenet_keypoints.json')
    assert len(found) == 10 and 785 in found.image_ids
    annotated = read_detections(shared_data / 'real/coco/person_keypoints.json')
    assert set(annotated.file_names) == {f'{i:012d}.jpg' for i in (785, 40083, 196141, 197388)}
    assert annotated.num_empty > 0 and set(np.unique(annotated.scores)) == {0, 1}
    with pytest.raises(ValueError, match='test_posetrack18_val.json: categories: .* not COCO-17'):
        read_detections(shared_data / 'real/posetrack18/annotations/test_posetrack18_val.json')
    humanart = read_detections(shared_data / 'real/humanart/test_humanart.json')
    assert len(humanart) == 4 and humanart.keypoints[0, 0].tolist() == pytest.approx([715.4305, 970.0197])
