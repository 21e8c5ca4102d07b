# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.apis.keypoint_files import FORMATS, read_keypoints

SIZE = (640, 480)
# COCO-17 in the orders of OpenPose's models, written out by hand from its documentation.
BODY_25 = [0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11]
COCO_18 = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]


def flat(person):
    return person.ravel().tolist()


def openpose(person, order, count):
    values = np.zeros((count, 3))
    values[order] = person
    return {'person_id': [-1], 'pose_keypoints_2d': flat(values)}


def padded(person, count):
    return np.concatenate([person, np.ones((count - 17, 3))])


def instance(person, box):
    keypoints, scores = person[:, :2].tolist(), person[:, 2].tolist()
    return {'keypoints': keypoints, 'keypoint_scores': scores, 'bbox': [box.tolist()], 'bbox_score': 0.5}


def result(person, box, scale=(1, 1)):
    (x, y), visible = (person[:, :2] / scale).T.tolist(), person[:, 2].tolist()
    sides = dict(zip(('x1', 'y1', 'x2', 'y2'), (box / np.tile(scale, 2)).tolist(), strict=True))
    keypoints = {'x': x, 'y': y, 'visible': visible}
    return {'name': 'person', 'class': 0, 'confidence': 0.5, 'box': sides, 'keypoints': keypoints}


def label(person, box):
    left, top, right, bottom = box
    centre = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]) / np.tile(SIZE, 2)
    points = person / (*SIZE, 1)
    return ' '.join(map(repr, [0, *centre.tolist(), *points.ravel().tolist(), 0.5]))


def sides(box):
    """Left, top, width, height."""
    return np.concatenate([box[:2], box[2:] - box[:2]]).tolist()


# Each writes a clip, a list of frames of [(person (17, 3), box (4,)), ...], and returns what to read.


def write_json(name, data):
    def write(folder, clip):
        (folder / name).write_text(json.dumps(data(clip)))
        return folder / name

    return write


def write_folder(name, data, dump=json.dumps):
    def write(folder, clip):
        for number, frame in enumerate(clip):
            (folder / name(number)).write_text(dump(data(frame)))
        return folder

    return write


def everyone(clip):
    return [(number, person, box) for number, frame in enumerate(clip) for person, box in frame]


def coco_results(clip):
    return [
        {'image_id': n, 'category_id': 1, 'keypoints': flat(p), 'score': 0.5, 'bbox': sides(b)}
        for n, p, b in everyone(clip)
    ]


def alphapose(clip, count=17):
    return [
        {'image_id': f'{n}.jpg', 'category_id': 1, 'keypoints': flat(padded(p, count)), 'score': 1.625, 'box': sides(b)}
        for n, p, b in everyone(clip)
    ]


def alphapose_open(clip):
    return {
        f'{n}.jpg': {'version': 'AlphaPose v0.3', 'people': [openpose(p, COCO_18, 18) for p, _ in frame]}
        for n, frame in enumerate(clip)
    }


def alphapose_cmu(clip):
    return {
        f'{n}.jpg': {'bodies': [{'joints': openpose(p, COCO_18, 18)['pose_keypoints_2d']} for p, _ in frame]}
        for n, frame in enumerate(clip)
    }


def inferencer(clip, first=0):
    return [{'frame_id': n + first, 'instances': [instance(*p) for p in frame]} for n, frame in enumerate(clip)]


def demo(clip):
    return {'meta_info': {'dataset_name': 'coco'}, 'instance_info': inferencer(clip, 1)}


def write_npz(folder, clip):
    frames, people, boxes = zip(*everyone(clip), strict=True) if everyone(clip) else ([], np.zeros((0, 17, 3)), [])
    np.savez(folder / 'clip.npz', keypoints=np.array(people), frame=np.array(frames, int), bboxes=np.array(boxes))
    return folder / 'clip.npz'


def write_labels(folder, clip):
    for number, frame in enumerate(clip, 1):
        if frame:
            (folder / f'street_{number}.txt').write_text('\n'.join(label(*p) for p in frame) + '\n')
    return folder


WRITERS = {
    'coco': [write_json('clip.json', coco_results)],
    'npz': [write_npz],
    'openpose': [
        write_folder(
            lambda n: f'street_{n:012d}_keypoints.json',
            lambda frame: {'version': 1.3, 'people': [openpose(p, BODY_25, 25) for p, _ in frame]},
        ),
        write_folder(
            lambda n: f'street_{n:012d}_keypoints.json',
            lambda frame: {'version': 1.3, 'people': [openpose(p, COCO_18, 18) for p, _ in frame]},
        ),
    ],
    'alphapose': [
        write_json('alphapose-results.json', alphapose),
        write_json('alphapose-results.json', lambda clip: alphapose(clip, 26)),
        write_json('alphapose-results.json', lambda clip: alphapose(clip, 136)),
        write_json('alphapose-results.json', alphapose_open),
        write_json('alphapose-results.json', alphapose_cmu),
    ],
    'mmpose': [
        write_json('street.json', inferencer),
        write_json('street.json', demo),
        write_folder(lambda n: f'frame_{n:06d}.json', lambda frame: [instance(*p) for p in frame]),
    ],
    'ultralytics': [
        write_json('street.json', lambda clip: [[result(*p) for p in frame] for frame in clip]),
        write_json('street.json', lambda clip: [json.dumps([result(*p) for p in frame]) for frame in clip]),
        write_json('street.json', lambda clip: [[result(*p, SIZE) for p in frame] for frame in clip]),
        write_folder(lambda n: f'frame_{n}.json', lambda frame: [result(*p) for p in frame]),
        write_labels,
    ],
}
CASES = [(format, writer) for format, writers in WRITERS.items() for writer in writers]
# Boxes are not in their files.
BOXLESS = (*WRITERS['openpose'], *WRITERS['alphapose'][3:])


@st.composite
def clips(draw):
    """Frames with 0 to 3 people; the first and the last one have someone."""
    counts = [draw(st.integers(1, 3)), *draw(st.lists(st.integers(0, 3), max_size=3)), draw(st.integers(1, 3))]
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    clip = []
    for count in counts:
        frame = []
        for _ in range(count):
            person = rng.uniform([2, 2, 0.01], [600, 450, 1], (17, 3)).round(3)
            person[rng.random(17) < 0.2] = 0  # missing
            person[5] = 300, 200, 0.75
            frame.append((person, np.array([*rng.uniform(2, 100, 2), *rng.uniform(200, 450, 2)]).round(2)))
        clip.append(frame)
    return clip


def assert_holds(found, frame, has_boxes):
    assert len(found) == len(frame)
    for row, (person, box) in enumerate(frame):
        np.testing.assert_allclose(found.keypoints[row], person[:, :2], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found.scores[row], person[:, 2], rtol=1e-5)
        seen = person[person[:, 2] > 0]
        expected = box if has_boxes else [*seen[:, :2].min(0), *seen[:, :2].max(0)]
        np.testing.assert_allclose(found.bboxes[row], expected, rtol=1e-5, atol=1e-3)


def test_every_format_is_written_here():
    assert tuple(WRITERS) == FORMATS


@pytest.mark.parametrize('format, write', CASES)
def test_what_is_written_comes_back(tmp_path_factory, format, write):
    @settings(max_examples=5)
    @given(clips())
    def check(clip):
        path = write(tmp_path_factory.mktemp('clip'), clip)
        file = read_keypoints(path, image_size=SIZE)
        assert (file.format, file.skeleton) == (format, 'coco')
        assert file.num_people == sum(map(len, clip)) and not file.has_tracks
        for number, frame in enumerate(clip):
            assert_holds(file.people(number), frame, write not in BOXLESS)
        assert len(file.people(len(clip))) == 0
        file.check_frames(len(clip))
        with pytest.raises(ValueError, match=f'not among the {len(clip) - 1} frame'):
            file.check_frames(len(clip) - 1)
        assert read_keypoints(path, format=format, image_size=SIZE).num_people == file.num_people

    check()


def test_whole_body_predictions_are_cut_to_coco(tmp_path):
    rng = np.random.default_rng(0)
    for count in (26, 133):
        person = padded(rng.uniform(2, 400, (17, 3)), count)
        (tmp_path / 'p.json').write_text(json.dumps([instance(person, np.array([1, 2, 300, 400]))]))
        assert_holds(read_keypoints(tmp_path / 'p.json').people(0), [(person[:17], np.array([1, 2, 300, 400]))], True)


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.json', '', 'a.json: the file is empty'),
        ('a.json', '[{', 'a.json: no readable JSON: '),
        ('a.json', '[' * 100_000, 'a.json: no readable JSON: nested too deeply'),
        ('a.json', '{"fx": 5}', 'a.json: takes COCO results or annotations, AlphaPose'),
        ('a.json', '[{"box": 5}]', 'a.json: takes COCO results'),
        ('a.json', '[1, 2]', 'a.json: takes COCO results'),
        ('a.json', '"text"', 'a.json: takes COCO results'),
        ('a.jsonl', '[]\n[\n', 'a.jsonl: line 2: no readable JSON'),
        ('a.txt', '0 0.5 0.5', 'a.txt: takes COCO results'),
        ('a.npz', 'x', 'a.npz: no readable NPZ'),
        ('a.pkl', 'x', 'a.pkl: takes COCO results'),
    ],
)
def test_files_that_cannot_be_read_are_reported(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_keypoints(tmp_path / name)


def test_folders_that_cannot_be_read_are_reported(tmp_path):
    with pytest.raises(ValueError, match='nowhere: cannot be read: No such file'):
        read_keypoints(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='no .json or .txt file in this folder'):
        read_keypoints(tmp_path)
    (tmp_path / 'a_keypoints.json').write_text('{"people": []}')
    (tmp_path / 'b_keypoints.json').write_text('{"people": [')
    with pytest.raises(ValueError, match='b_keypoints.json: no readable JSON'):
        read_keypoints(tmp_path)
    (tmp_path / 'b_keypoints.json').write_text('[{"keypoints": [], "keypoint_scores": []}]')
    with pytest.raises(ValueError, match=': b_keypoints.json: takes a dict with people'):
        read_keypoints(tmp_path)
    (tmp_path / 'a_keypoints.json').write_text('[{"image_id": "1.jpg", "keypoints": []}]')
    with pytest.raises(ValueError, match='a_keypoints.json: alphapose comes in one file, this is a folder of several'):
        read_keypoints(tmp_path)


def test_a_file_of_a_folder_that_is_no_keypoints_is_named(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / f'{name}.json').write_text('{"fx": 5}')
    with pytest.raises(ValueError, match='a.json: takes COCO results'):
        read_keypoints(tmp_path)


def test_arguments_are_checked(tmp_path):
    (tmp_path / 'a.json').write_text('[]')
    with pytest.raises(ValueError, match="format: takes one of coco, npz, .*, got 'pifpaf'"):
        read_keypoints(tmp_path / 'a.json', format='pifpaf')
    with pytest.raises(ValueError, match="unknown skeleton 'hand'"):
        read_keypoints(tmp_path / 'a.json', 'hand')
    with pytest.raises(ValueError, match=r'image_size: takes a width and a height in pixels, got \(0, 5\)'):
        read_keypoints(tmp_path / 'a.json', image_size=(0, 5))
    (tmp_path / 'b.json').write_text(json.dumps({'people': [openpose(np.ones((17, 3)) * 9, BODY_25, 25)]}))
    with pytest.raises(ValueError, match='b.json: holds keypoints of coco, not of h36m'):
        read_keypoints(tmp_path / 'b.json', 'h36m')


def test_a_forced_format_is_not_guessed(tmp_path):
    (tmp_path / 'a.json').write_text('[{"image_id": 3, "category_id": 1, "keypoints": []}]')
    for format, message in (
        ('coco', 'record 0: keypoints: takes 51 numbers'),
        ('alphapose', 'image 3, person 0: keypoints: takes 51, 78, 399 or 408 values, got 0'),
        ('mmpose', 'image, person 0: keypoints: takes 17, 26, 133 or 136 keypoints'),
        ('openpose', 'image: takes a dict with people'),
        ('ultralytics', 'frame 0: takes a list of people'),
    ):
        with pytest.raises(ValueError, match=f'a.json: {message}'):
            read_keypoints(tmp_path / 'a.json', format=format)


def test_no_one_anywhere(tmp_path):
    (tmp_path / 'found.json').write_text('[]')
    file = read_keypoints(tmp_path / 'found.json')
    assert (file.num_people, file.num_frames, len(file.people(0)), len(file.people(0, 'a.jpg'))) == (0, 0, 0, 0)
    file.check_frames(10)
    (tmp_path / 'b.json').write_text('[]')
    file = read_keypoints(tmp_path)  # an inferencer's folder
    assert file.num_frames == 2 and len(file.people(name='b.jpg')) == 0
    (tmp_path / 'clip.json').write_text(json.dumps(demo([[], [], []])))
    file = read_keypoints(tmp_path / 'clip.json')
    assert file.num_frames == 3 and file.num_people == 0
    (tmp_path / 'lines.jsonl').write_text('[]\n[]\n\n')
    assert read_keypoints(tmp_path / 'lines.jsonl').num_frames == 2


def test_reads_real_detections(shared_data):
    file = read_keypoints(shared_data / 'real/coco/movenet_keypoints.json')
    names = ['000000000785.jpg', '000000040083.jpg', '000000196141.jpg', '000000197388.jpg']
    assert file.format == 'coco' and file.num_people == 10
    assert sum(len(file.people(number, name)) for number, name in enumerate(names)) == 10
    file.check_frames(names=names)
    with pytest.raises(ValueError, match='not among the 3 images; the first is 000000040083.jpg'):
        file.check_frames(names=names[1:])
    with pytest.raises(ValueError, match='not among the 5 frames; frames count from 0 to 4'):
        file.check_frames(5)
    annotated = read_keypoints(shared_data / 'real/coco/person_keypoints.json')
    assert len(annotated.people(name=names[0])) == 1 and annotated.num_empty > 0
    for path in sorted((shared_data / 'real').glob('*/movenet_keypoints.json')):
        assert read_keypoints(path).num_people > 0
