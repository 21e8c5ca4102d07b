# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from stereopose_mm.apis.keypoint_files import read_keypoints
from stereopose_mm.geometry import COCO_17

# The parts of OpenPose's MPI model, doc/02_output.md and poseParameters.cpp.
MPI = ['Head', 'Neck', 'RShoulder', 'RElbow', 'RWrist', 'LShoulder', 'LElbow', 'LWrist', 'RHip', 'RKnee', 'RAnkle',
       'LHip', 'LKnee', 'LAnkle', 'Chest']  # fmt: skip


def person(count=25, **changes):
    values = np.random.default_rng(count).uniform(10, 500, (count, 3)).round(3)
    values[:, 2] = 0.5
    return {'person_id': [-1], 'pose_keypoints_2d': values.ravel().tolist(), 'face_keypoints_2d': [], **changes}


@pytest.fixture
def read(tmp_path):
    def write_and_read(*people):
        (tmp_path / 'photo_keypoints.json').write_text(json.dumps({'version': 1.3, 'people': people}))
        return read_keypoints(tmp_path / 'photo_keypoints.json')

    return write_and_read


def test_mpi_has_limbs_but_no_face(read):
    one = person(15)
    found = read(one).people(0)
    values = np.array(one['pose_keypoints_2d']).reshape(15, 3)
    for joint, name in enumerate(COCO_17.joint_names):
        side, _, part = name.partition('_')
        if side + part in ('nose',) or part in ('eye', 'ear'):
            assert found.scores[0, joint] == 0
        else:
            expected = values[MPI.index(side[0].upper() + part.capitalize())]
            np.testing.assert_allclose([*found.keypoints[0, joint], found.scores[0, joint]], expected, rtol=1e-6)


def test_a_keypoint_at_the_origin_is_missing(read):
    one = person()
    one['pose_keypoints_2d'][:3] = 0, 0, 0.9
    found = read(one).people(0)
    assert found.scores[0, 0] == 0 and (found.scores[0, 1:] > 0).all()


def test_tracks_and_older_versions(read):
    old = {'pose_keypoints': person()['pose_keypoints_2d']}
    people = read(person(person_id=[7]), person(person_id=[3]), old, person(person_id=[])).people(0)
    assert people.tracks.tolist() == [7, 3, 8, 9]  # those without one get their own
    assert read(person(), person()).people(0).tracks is None


def test_people_without_a_body_are_left_out(read):
    file = read(person(pose_keypoints_2d=[]), person(), person(pose_keypoints_2d=[0.0] * 75))
    assert file.num_people == 1 and file.num_empty == 1


def test_an_image_folders_files_are_found_by_image(tmp_path):
    for name, people in (('000000000785', [person()]), ('b.c', [person(), person()]), ('empty', [])):
        (tmp_path / f'{name}_keypoints.json').write_text(json.dumps({'people': people}))
    file = read_keypoints(tmp_path)
    counts = [len(file.people(i, n)) for i, n in enumerate(['000000000785.jpg', 'b.c.png', 'empty.jpg', 'other.jpg'])]
    assert counts == [1, 2, 0, 0]
    with pytest.raises(ValueError, match='b.c_keypoints.json: not among the 2 images; the first is empty.jpg'):
        file.check_frames(names=['empty.jpg', '000000000785.jpg'])


@pytest.mark.parametrize(
    'people, message',
    [
        ([person(17)], 'image, person 0: keypoints: takes 75, 54 or 45 values .BODY_25, COCO or MPI., got 51'),
        ([person(), person(18)], 'image, person 1: keypoints: takes 75 finite numbers .*, got 54 values'),
        ([person(pose_keypoints_2d='x')], 'image, person 0: keypoints: takes .* got str'),
        ([person(pose_keypoints_2d=[float('nan')] * 75)], 'image, person 0: keypoints: takes .*, got nan'),
        ([person(pose_keypoints_2d=[None] * 75)], 'image, person 0: keypoints: takes .* finite numbers'),
        ([person(pose_keypoints_2d=['1'] * 75)], "image, person 0: keypoints: takes .*, got '1'"),
        ([person(pose_keypoints_2d=[0.5] * 75)], 'keypoints: these are scaled to the image; .* --keypoint_scale 0'),
        ([{'face_keypoints_2d': []}], r"image: a person takes pose_keypoints_2d, has \['face_keypoints_2d'\]"),
        ([5], 'image: a person takes pose_keypoints_2d, has int'),
        ([person(person_id=[0.5])], 'image, person 0: track: takes a whole number, got 0.5'),
    ],
)
def test_bad_people_are_reported(read, people, message):
    with pytest.raises(ValueError, match=f'photo_keypoints.json: {message}'):
        read(*people)


def test_people_must_be_a_list(tmp_path):
    (tmp_path / 'a.json').write_text('{"people": 5}')
    with pytest.raises(ValueError, match='a.json: image: people: takes a list'):
        read_keypoints(tmp_path / 'a.json')
