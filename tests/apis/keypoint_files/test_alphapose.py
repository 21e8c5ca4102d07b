# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import pytest

from stereopose_mm.apis.keypoint_files import read_keypoints


def record(image='0.jpg', count=17, **changes):
    keypoints = [40.0, 50.0, 0.8] * count
    return {
        'image_id': image,
        'category_id': 1,
        'keypoints': keypoints,
        'score': 2.6,
        'box': [10, 20, 30, 40],
        **changes,
    }


@pytest.fixture
def read(tmp_path):
    def write_and_read(*records):
        (tmp_path / 'alphapose-results.json').write_text(json.dumps(records))
        return read_keypoints(tmp_path / 'alphapose-results.json')

    return write_and_read


def test_reads_boxes_scores_and_tracks(read):
    people = read(record(idx=3), record(idx=[[5.0], [6.0]]), record(idx=[])).people(0)
    assert people.bboxes.tolist() == [[10, 20, 40, 60]] * 3
    assert people.bbox_scores.tolist() == pytest.approx([0.8] * 3)  # 2.6 of at most 3.25
    assert people.tracks.tolist() == [3, 5, 6] and people.scores[0, 0] == pytest.approx(0.8)


def test_scores_of_older_models_are_clipped(read):
    people = read(record(keypoints=[40.0, 50.0, 4.5] * 17, score=9.0)).people(0)
    assert (people.scores == 1).all() and people.bbox_scores.tolist() == [1]


def test_frames_are_numbered_and_images_named(read):
    file = read(record('frame12.jpg'), record('2.jpg'), record('frame12.jpg', category_id=2))
    assert file.num_other == 1 and file.frame_numbers == [2, 12]
    assert len(file.people(12)) == len(file.people(name='frame12.jpg')) == len(file.people(2)) == 1


@pytest.mark.parametrize('count', [17, 26, 133, 136])
def test_is_told_from_coco_results(read, count):
    assert read(record(count=count)).format == 'alphapose'
    evaluated = record(7, count)  # for_eval: ids of images
    assert read(evaluated).format == 'alphapose' and len(read(evaluated).people(7)) == 1


@pytest.mark.parametrize(
    'records, message',
    [
        ([record(), record(count=26)], 'image 0.jpg, person 1: keypoints: takes 51 finite .*, got 78 values'),
        ([record(), record('4.jpg', keypoints=[float('inf')] * 51)], 'image 4.jpg, person 0: keypoints: .*, got inf'),
        ([record(count=18)], 'image 0.jpg, person 0: keypoints: takes 51, 78, 399 or 408 values, got 54'),
        ([record(), {'image_id': '1.jpg'}], 'record 1: takes a dict with image_id and keypoints'),
        ([record(), 5], 'record 1: takes a dict'),
        ([record(box=[1, 2])], 'image 0.jpg, person 0: box: takes 4 finite numbers .*'),
        ([record(), record(box=None), record(box='x')], 'image 0.jpg, person 2: box: takes'),
        ([record(score='high')], "image 0.jpg, person 0: score: takes a finite number, got 'high'"),
        ([record(idx='first')], "image 0.jpg, person 0: track: takes a whole number, got 'first'"),
    ],
)
def test_bad_records_are_reported(read, records, message):
    with pytest.raises(ValueError, match=f'alphapose-results.json: {message}'):
        read(*records)
