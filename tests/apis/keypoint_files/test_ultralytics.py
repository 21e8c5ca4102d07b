# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stereopose_mm.apis.keypoint_files import from_ultralytics, read_keypoints

SIZE = (200, 120)
KEYPOINTS = np.random.default_rng(0).uniform(1, 100, (2, 17, 2)).round(3)
SCORES = np.random.default_rng(1).uniform(0.02, 1, (2, 17)).round(3)
BOXES = np.array([[1, 2, 30, 40], [5, 6, 70, 80]], float)
# What Ultralytics 8.4 writes of one tracked person on an image of 200 x 120 pixels, two decimals fewer:
# `Results.to_json()`, and a line of `save_txt` with `save_conf`.
JSON = (
    '[{"name":"person","class":0,"confidence":0.9,"box":{"x1":1.0,"y1":2.0,"x2":30.0,"y2":40.0},"track_id":3,"keypoints":'
    '{"x":[49.626,13.203,49.009,63.231,2.233,51.852,16.103,91.519,41.941,3.616,30.51,26.983,20.813,74.234,58.459,24.224,'
    '27.825],"y":[76.822,30.742,89.644,34.889,16.886,69.767,28.227,39.71,55.291,18.523,93.2,15.068,92.98,52.63,3.315,'
    '81.547,48.196],"visible":[0.282,0.374,0.024,0.491,0.123,0.114,0.472,0.575,0.295,0.797,0.196,0.954,0.843,0.078,'
    '0.376,0.523,0.573]}}]'
)
LABEL = (
    '0 0.0775 0.175 0.145 0.316667 0.24813 0.640183 0.282 0.066015 0.256183 0.374 0.245045 0.747033 0.024 0.316155 '
    '0.290742 0.491 0.011165 0.140717 0.123 0.25926 0.581392 0.114 0.080515 0.235225 0.472 0.457595 0.330917 0.575 '
    '0.209705 0.460758 0.295 0.01808 0.154358 0.797 0.15255 0.776667 0.196 0.134915 0.125567 0.954 0.104065 0.774833 '
    '0.843 0.37117 0.438583 0.078 0.292295 0.027625 0.376 0.12112 0.679558 0.523 0.139125 0.401633 0.573 0.9 3\n'
)


def test_json_and_label_of_one_result_are_the_same(tmp_path):
    (tmp_path / 'a.json').write_text(JSON)
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels/a.txt').write_text(LABEL)
    from_json = read_keypoints(tmp_path / 'a.json').people(0)
    from_label = read_keypoints(tmp_path / 'labels', image_size=SIZE).people(0, 'a.jpg')
    for people in (from_json, from_label):
        np.testing.assert_allclose(people.keypoints[0, [0, 16]], [[49.626, 76.822], [27.825, 48.196]], atol=1e-3)
        np.testing.assert_allclose(people.scores[0, [0, 16]], [0.282, 0.573], rtol=1e-6)
        np.testing.assert_allclose(people.bboxes, [[1, 2, 30, 40]], atol=1e-3)
        assert people.bbox_scores.tolist() == pytest.approx([0.9]) and people.tracks.tolist() == [3]
    np.testing.assert_allclose(from_json.keypoints, from_label.keypoints, atol=1e-3)


def label(person, *more, dims=3, number=0):
    points = np.concatenate([KEYPOINTS[person] / SIZE, SCORES[person][:, None]], -1)[:, :dims]
    return ' '.join(f'{v:.9g}' for v in (number, 0.5, 0.5, 0.1, 0.2, *points.ravel(), *more)) + '\n'


@pytest.fixture
def read_labels(tmp_path):
    def write_and_read(*texts, **options):
        for number, text in enumerate(texts, 1):
            (tmp_path / f'street_{number}.txt').write_text(text)
        return read_keypoints(tmp_path, **{'image_size': SIZE, **options})

    return write_and_read


def test_labels_of_a_video_count_from_1(read_labels):
    file = read_labels(label(0) + label(1), '', label(1))
    assert [len(file.people(number)) for number in range(4)] == [2, 0, 1, 0]
    np.testing.assert_allclose(file.people(2).keypoints, KEYPOINTS[1:], rtol=1e-5)
    np.testing.assert_allclose(file.people(2).scores, SCORES[1:], rtol=1e-5)
    np.testing.assert_allclose(file.people(2).bboxes, [[90, 48, 110, 72]], rtol=1e-6)
    assert len(read_labels(label(0), first_frame=0).people(1)) == 1


def test_one_number_behind_the_keypoints_is_a_score_or_a_track(read_labels):
    tracked = read_labels(label(0, 1) + label(1, 2), label(1, 2)).people(0)
    assert tracked.tracks.tolist() == [1, 2] and tracked.bbox_scores[0] == pytest.approx(SCORES[0].mean())
    scored = read_labels(label(0, 1) + label(1, 0.75), label(1, 1)).people(0)
    assert scored.tracks is None and scored.bbox_scores.tolist() == [1, 0.75]
    both = read_labels(label(0, 1, 4) + label(1, 0.5), label(1, 0.5)).people(0)
    assert both.tracks.tolist() == [4, 5] and both.bbox_scores.tolist() == [1, 0.5]


def test_keypoints_without_scores_and_a_datasets_flags(read_labels):
    plain = label(0, dims=2).split()
    plain[5:7] = '0', '0'
    assert read_labels(' '.join(plain), label(1, 0.5, 2, dims=2)).people(0).scores.tolist() == [[0] + [1] * 16]
    flagged = label(0).split()
    flagged[7::3] = ['2'] * 17
    assert (read_labels(' '.join(flagged), '').people(0).scores == 1).all()


def test_other_classes_are_left_out(read_labels):
    file = read_labels(label(0, number=16) + label(1), '')
    assert file.num_people == 1 and file.num_other == 1


@pytest.mark.parametrize(
    'text, options, message',
    [
        (label(0), {'image_size': None}, 'labels are in parts of the image: needs image_size'),
        (label(0) + '0 0.5 0.5 0.1 0.2', {}, 'street_1.txt: line 2: takes 5 numbers, 17 keypoints .*, got 5 numbers'),
        ('0 0.5 x', {}, "street_1.txt: line 1: takes numbers, got '0 0.5 x'"),
        (label(0, float('nan')), {}, 'street_1.txt: line 1: takes finite numbers'),
        (label(0), {'format': 'openpose'}, 'takes JSON files of openpose, has .txt files only'),
    ],
)
def test_bad_labels_are_reported(read_labels, text, options, message):
    with pytest.raises(ValueError, match=message):
        read_labels(text, **options)


def test_json_lines(tmp_path):
    (tmp_path / 'street.jsonl').write_text(f'{JSON}\n[]\n\n{JSON}\n')
    file = read_keypoints(tmp_path / 'street.jsonl')
    assert [len(file.people(number)) for number in range(4)] == [1, 0, 1, 0]


def result(**changes):
    return {**json.loads(JSON)[0], **changes}


@pytest.fixture
def read_json(tmp_path):
    def write_and_read(data, **options):
        (tmp_path / 'street.json').write_text(json.dumps(data))
        return read_keypoints(tmp_path / 'street.json', **options)

    return write_and_read


def test_results_without_scores(read_json):
    points = result()['keypoints']
    for visible in ({}, {'visible': None}):
        keypoints = {'x': [0.0, *points['x'][1:]], 'y': [0.0, *points['y'][1:]], **visible}
        people = read_json([[result(keypoints=keypoints)]]).people(0)
        assert people.scores.tolist() == [[0] + [1] * 16]


def test_other_objects_are_left_out(read_json):
    file = read_json([[result(), {'name': 'dog', 'class': 16, 'confidence': 0.5, 'box': {}}]])
    assert file.num_people == 1 and file.num_other == 1


@pytest.mark.parametrize(
    'data, message',
    [
        (
            [[result()], [result(keypoints=None)]],
            'frame 1: a person has no keypoints .*; takes results of a pose model',
        ),
        ([[], [result(keypoints={'x': [1], 'y': [2]})]], 'frame 1, person 0: keypoints.x: takes 17 finite numbers'),
        (
            [[result(keypoints={**result()['keypoints'], 'y': [float('nan')] * 17})]],
            'frame 0, person 0: keypoints.y: .*, got nan',
        ),
        ([[result(box={'x1': 5})]], 'frame 0, person 0: box: takes 4 finite numbers'),
        ([[result(confidence='x')]], "frame 0, person 0: confidence: takes a finite number, got 'x'"),
        ([[result()], [5]], 'frame 1: takes a list of people'),
        ([[result()], 'x'], 'no readable JSON'),
        (
            [[result(keypoints={'x': [0.5] * 17, 'y': [0.25] * 17})]],
            'results are in parts of the image: needs image_size',
        ),
    ],
)
def test_bad_results_are_reported(read_json, data, message):
    with pytest.raises(ValueError, match=f'street.json: {message}'):
        read_json(data)


def results(keypoints=KEYPOINTS, scores=SCORES, ids=None, classes=(0, 0)):
    """The parts of a `Results` object that are read."""
    count = len(keypoints)
    tensors = [torch.tensor(v) for v in (BOXES[:count], [0.9, 0.8][:count], classes[:count])]
    box = dict(zip(('xyxy', 'conf', 'cls'), tensors, strict=True))
    boxes = type('Boxes', (), {**box, 'id': None if ids is None else torch.tensor(ids), '__len__': lambda _: count})()
    points = SimpleNamespace(xy=torch.tensor(keypoints), conf=None if scores is None else torch.tensor(scores))
    return SimpleNamespace(boxes=boxes, keypoints=points, names={0: 'person', 16: 'dog'})


def test_reads_results_objects():
    people = from_ultralytics(results(ids=[7.0, 8.0]))
    np.testing.assert_allclose(people.keypoints, KEYPOINTS, rtol=1e-6)
    np.testing.assert_allclose(people.scores, SCORES, rtol=1e-6)
    assert people.bboxes.tolist() == BOXES.tolist() and people.tracks.tolist() == [7, 8]
    assert people.bbox_scores.tolist() == pytest.approx([0.9, 0.8])
    assert from_ultralytics(results()).tracks is None
    assert (from_ultralytics(results(scores=None)).scores == 1).all()


def test_leaves_out_other_objects_and_people_without_keypoints():
    assert len(from_ultralytics(results(classes=(16, 0)))) == 1
    assert len(from_ultralytics(results(keypoints=KEYPOINTS * [[[0]], [[1]]]))) == 1
    assert len(from_ultralytics(results(keypoints=KEYPOINTS[:0], scores=SCORES[:0]))) == 0


def test_bad_results_objects_are_reported():
    unposed = results()
    unposed.keypoints = None
    with pytest.raises(ValueError, match='results: has boxes but no keypoints'):
        from_ultralytics(unposed)
    with pytest.raises(ValueError, match=r'results: keypoints: takes \(2, 17, 2\), got \(2, 16, 2\)'):
        from_ultralytics(results(keypoints=KEYPOINTS[:, :16]))
    with pytest.raises(ValueError, match='results: takes finite numbers'):
        from_ultralytics(results(keypoints=KEYPOINTS * np.nan))


def test_images_of_several_sizes(tmp_path):
    """Parts of an image are parts of that image, not of the first one."""
    sizes = {'a': (200, 120), 'b': (400, 60)}
    (tmp_path / 'labels').mkdir()
    for name in sizes:
        (tmp_path / f'labels/{name}.txt').write_text(label(0))
    file = read_keypoints(tmp_path / 'labels', image_size=lambda number, name: sizes[name])
    for number, (name, size) in enumerate(sizes.items()):
        people = file.people(number, f'{name}.jpg')
        np.testing.assert_allclose(people.keypoints, KEYPOINTS[:1] / SIZE * size, rtol=1e-5)
        np.testing.assert_allclose(people.bboxes, [np.array([0.45, 0.4, 0.55, 0.6]) * [*size, *size]], rtol=1e-5)
    parts = {'x': [0.5] * 17, 'y': [0.25] * 17}
    (tmp_path / 'street.json').write_text(json.dumps([[], [result(keypoints=parts)], [result(keypoints=parts)]]))
    file = read_keypoints(tmp_path / 'street.json', image_size=lambda number, name: (100 * number, 8))
    assert [file.people(number).keypoints[0, 0].tolist() for number in (1, 2)] == [[50, 2], [100, 2]]


def test_labels_that_begin_with_a_byte_order_mark(tmp_path):
    """As editors on Windows write them."""
    (tmp_path / 'street_1.txt').write_text(label(0), encoding='utf-8-sig')
    assert read_keypoints(tmp_path, image_size=SIZE).num_people == 1
