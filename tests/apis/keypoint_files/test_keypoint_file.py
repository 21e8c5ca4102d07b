# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from stereopose_mm.apis.keypoint_files import read_keypoints


def record(x, **changes):
    return {'category_id': 1, 'keypoints': [float(x), 5.0, 0.5] * 17, **changes}


@pytest.fixture
def read(tmp_path):
    def write_and_read(records, **options):
        (tmp_path / 'found.json').write_text(json.dumps(records))
        return read_keypoints(tmp_path / 'found.json', **options)

    return write_and_read


def xs(people):
    return people.keypoints[:, 0, 0].tolist()


@pytest.mark.parametrize(
    'own, asked',
    [
        ('a.jpg', 'a.jpg'),
        ('val2017/a.jpg', 'a.jpg'),
        ('a.jpg', 'images/val2017/a.jpg'),
        ('C:\\shots\\a.jpg', 'shots/a.jpg'),
        ('a', 'a.jpg'),
        ('a.png', 'a.jpg'),
        ('./x/../a.jpg', 'a.jpg'),
    ],
)
def test_images_are_found_by_name(read, own, asked):
    file = read([record(1, file_name=own), record(2, file_name='b.jpg'), record(3, file_name=own)])
    assert xs(file.people(5, asked)) == [1, 3] and xs(file.people(5, 'b.jpg')) == [2]
    assert len(file.people(0, 'c.jpg')) == 0
    file.check_frames(names=[asked, 'b.jpg', 'c.jpg'])


def test_the_likeliest_image_is_taken(read):
    names = ['cam1/a.jpg', 'cam2/a.jpg', 'a.png', 'b.jpg', 'b.png']
    file = read([record(x, file_name=name) for x, name in enumerate(names)])
    assert [xs(file.people(name=name)) for name in names] == [[0], [1], [2], [3], [4]]
    with pytest.raises(ValueError, match='found.json: a.jpg may be cam1/a.jpg or cam2/a.jpg'):
        file.people(name='a.jpg')


def test_images_are_found_by_the_id_in_their_name(read):
    file = read([record(1, image_id=785), record(2, image_id=40083)])
    assert xs(file.people(0, '000000000785.jpg')) == xs(file.people(0, 'COCO_val2014_000000000785.jpg')) == [1]
    assert len(file.people(785, '000000000786.jpg')) == 0
    names = ['000000000785.jpg', '000000000786.jpg', '000000040083.jpg']
    file.check_frames(names=names)
    with pytest.raises(ValueError, match='found.json: image 785: not among the 1 image; the first is a.jpg'):
        read([record(1, image_id=785)]).check_frames(names=['a.jpg'])


def test_text_ids_are_names(read):
    file = read([record(1, image_id='cam/3'), record(2, image_id='cam/4')])
    assert xs(file.people(name='cam/4.jpg')) == [2] and xs(file.people(3)) == [1]


def test_frames_are_found_by_number(read):
    file = read([record(1, image_id=0), record(2, image_id=3), record(3, image_id=0)])
    assert [xs(file.people(number)) for number in range(5)] == [[1, 3], [], [], [2], []]
    assert file.frame_numbers == [0, 3] and file.num_frames == 2
    file.check_frames(4)
    with pytest.raises(ValueError, match='image 3: not among the 3 frames; frames count from 0 to 2'):
        file.check_frames(3)


def test_the_first_frame_may_have_any_number(read):
    records = [record(1, image_id=1), record(2, image_id=3)]
    file = read(records, first_frame=1)
    assert xs(file.people(0)) == [1] and xs(file.people(2)) == [2]
    named = [record(1, file_name='frame_0001.jpg'), record(2, file_name='frame_0003.jpg')]
    assert xs(read(named, first_frame=1).people(2)) == [2] and xs(read(named).people(3)) == [2]
    with pytest.raises(ValueError, match='image 1 and 1 more: not among the 9 frames; its name ends with no frame'):
        read(records, first_frame=5).check_frames(9)


def test_names_without_a_number_are_no_frames_of_a_video(read):
    with pytest.raises(ValueError, match='image a.jpg: not among the 9 frames; its name ends with no frame number'):
        read([record(1, file_name='a.jpg')]).check_frames(9)


def test_one_number_in_two_folders_is_ambiguous_on_a_video(read):
    file = read([record(1, file_name='cam1/7.jpg'), record(2, file_name='cam2/7.jpg')])
    assert xs(file.people(name='cam1/7.jpg')) == [1]
    with pytest.raises(ValueError, match='found.json: frame 7 may be cam1/7.jpg or cam2/7.jpg'):
        file.people(7)
    with pytest.raises(ValueError, match='frame 7 may be'):
        file.check_frames(10)


def test_numbered_frames_are_a_folders_images_in_order(tmp_path):
    keypoints = np.arange(1.0, 4)[:, None, None] * np.ones((3, 17, 2))
    np.savez(tmp_path / 'clip.npz', keypoints=keypoints, frame=[0, 2, 2])
    file = read_keypoints(tmp_path / 'clip.npz')
    assert xs(file.people(2, 'any.jpg')) == [2, 3] and len(file.people(1, 'other.jpg')) == 0
    file.check_frames(names=['a.jpg', 'b.jpg', 'c.jpg'])


def test_a_lone_image_belongs_to_one_image_only(tmp_path):
    instance = {'keypoints': [[1.0, 2.0]] * 17, 'keypoint_scores': [0.5] * 17}
    (tmp_path / 'any.json').write_text(json.dumps([instance]))
    file = read_keypoints(tmp_path / 'any.json')
    assert len(file.people(0, 'photo.jpg')) == 1
    file.check_frames(names=['photo.jpg'])
    file.check_frames(1)
    for frames in ({'names': ['a.jpg', 'b.jpg']}, {'num_frames': 2}):
        with pytest.raises(ValueError, match='any.json: has the people of one image, but there are 2 (image|frame)s'):
            file.check_frames(**frames)


def test_check_frames_takes_one_of_its_arguments(read):
    for arguments in ({}, {'num_frames': 1, 'names': ['a.jpg']}):
        with pytest.raises(ValueError, match='takes either num_frames or names'):
            read([record(1, image_id=0)]).check_frames(**arguments)


def test_records_need_a_frame(read):
    with pytest.raises(ValueError, match='found.json: record 1: has neither image_id nor file_name'):
        read([record(1, image_id=0), record(2)])
    assert xs(read([record(1), record(2)]).people(1)) == [2]  # none has: one after the other


def test_coco_boxes_scores_and_tracks(read):
    tracked = record(1, image_id=0, bbox=[1, 2, 10, 20], score=0.25, track_id=4)
    people = read([tracked, record(2, image_id=0), record(3, image_id=1, bbox='x')]).people(0)
    assert people.bboxes.tolist() == [[1, 2, 11, 22], [2, 5, 2, 5]]  # around the keypoints
    assert people.bbox_scores.tolist() == [0.25, 0.5] and people.tracks.tolist() == [4, 5]
    assert people.keypoints.dtype == people.scores.dtype == people.bboxes.dtype == np.float32
    assert people.tracks.dtype == np.int64 and read([record(1, image_id=0)]).people(0).tracks is None


def test_npz_boxes_and_tracks(tmp_path):
    arrays = {'keypoints': np.full((3, 17, 2), 5.0), 'bboxes': np.full((3, 4), 7.0), 'track': [3, -1, 4]}
    arrays['bboxes'][2] = np.nan
    np.savez(tmp_path / 'a.npz', **arrays)
    file = read_keypoints(tmp_path / 'a.npz')
    assert [file.people(i).tracks.tolist() for i in range(3)] == [[3], [5], [4]]  # row i is frame i
    assert file.people(0).bboxes.tolist() == [[7] * 4] and file.people(2).bboxes.tolist() == [[5] * 4]
    for name, values, message in (
        ('bboxes', np.ones((2, 4)), r'bboxes: takes \(3, 4\), got \(2, 4\)'),
        ('bboxes', np.full((3, 4), np.inf), 'bboxes: takes numbers of at most a million'),
        ('frame', [0, 1, -1], 'frame: takes positions from 0, got a negative one'),
        ('frame', [0.5, 1, 2], 'frame: takes whole numbers, got float64'),
        ('track', [0, 1], r'track: takes \(3,\), got \(2,\)'),
    ):
        np.savez(tmp_path / 'bad.npz', **{**arrays, name: values})
        with pytest.raises(ValueError, match=f'bad.npz: {message}'):
            read_keypoints(tmp_path / 'bad.npz')
