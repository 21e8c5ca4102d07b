# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from types import SimpleNamespace

import json_tricks
import mmpose
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpose.apis.inferencers import Pose2DInferencer
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.structures import split_instances

from stereopose_mm.apis.keypoint_files import read_keypoints
from stereopose_mm.geometry import H36M_17

DATASETS = Path(mmpose.__file__).parent / '.mim/configs/_base_/datasets'


def meta_info(dataset):
    """What a checkpoint of MMPose says of its keypoints."""
    return parse_pose_metainfo(Config.fromfile(DATASETS / f'{dataset}.py').dataset_info)


def predicted(people, count=17, seed=0):
    """Instances as MMPose's models give them."""
    rng = np.random.default_rng(seed)
    instances = InstanceData()
    instances.keypoints = rng.uniform(10, 500, (people, count, 2)).astype(np.float32)
    instances.keypoint_scores = rng.uniform(0.1, 1, (people, count)).astype(np.float32)
    instances.bboxes = rng.uniform(10, 500, (people, 4)).astype(np.float32)
    instances.bbox_scores = rng.uniform(0, 1, people).astype(np.float32)
    return instances


def assert_same(found, instances):
    np.testing.assert_array_equal(found.keypoints, instances.keypoints[:, :17])
    np.testing.assert_array_equal(found.scores, instances.keypoint_scores[:, :17])
    np.testing.assert_array_equal(found.bboxes, instances.bboxes)
    np.testing.assert_array_equal(found.bbox_scores, instances.bbox_scores)


CLIP = [predicted(2), predicted(0), predicted(3, seed=1)]


def demo(frames, dataset):
    """What the demos write with --save-predictions: frames count from 1."""
    info = [{'frame_id': n, 'instances': split_instances(frame)} for n, frame in enumerate(frames, 1)]
    return {'meta_info': meta_info(dataset), 'instance_info': info}


@pytest.mark.filterwarnings('ignore:json-tricks')
@pytest.mark.parametrize('dataset, count', [('coco', 17), ('coco_wholebody', 133), ('halpe26', 26), ('halpe', 136)])
def test_reads_what_a_demo_writes_of_a_video(tmp_path, dataset, count):
    clip = [predicted(2, count), predicted(0, count), predicted(3, count, 1)]
    (tmp_path / 'street.json').write_text(json_tricks.dumps(demo(clip, dataset), indent='\t'))
    file = read_keypoints(tmp_path / 'street.json')
    assert (file.format, file.skeleton, file.num_frames) == ('mmpose', 'coco', 3)
    for number, frame in enumerate(clip):
        assert_same(file.people(number), frame)
    file.check_frames(3)


@pytest.mark.filterwarnings('ignore:json-tricks')
def test_reads_what_a_demo_writes_of_an_image(tmp_path):
    data = {'meta_info': meta_info('coco'), 'instance_info': split_instances(CLIP[0])}
    (tmp_path / 'results_photo.json').write_text(json_tricks.dumps(data, indent='\t'))
    assert_same(read_keypoints(tmp_path / 'results_photo.json').people(0, 'photo.jpg'), CLIP[0])


def test_reads_what_an_inferencer_writes_of_a_video(tmp_path):
    """By the inferencer's own method: frames count from 0."""
    video = {'writer': None, 'name': 'street.mp4', 'predictions': list(map(split_instances, CLIP))}
    Pose2DInferencer._finalize_video_processing(SimpleNamespace(video_info=video), str(tmp_path))
    file = read_keypoints(tmp_path / 'street.json')
    for number, frame in enumerate(CLIP):
        assert_same(file.people(number), frame)
    assert read_keypoints(tmp_path).num_people == 5  # its folder


def test_reads_what_an_inferencer_writes_of_images(tmp_path):
    """By the inferencer's own method: a file of each image."""
    names = ['000000000785.jpg', 'b.png', 'c.d.jpg']
    samples = [
        SimpleNamespace(pred_instances=i, metainfo={'img_path': f'x/{n}'}) for i, n in zip(CLIP, names, strict=True)
    ]
    own = SimpleNamespace(_video_input=False)
    Pose2DInferencer.postprocess(own, samples, [], pred_out_dir=str(tmp_path))
    file = read_keypoints(tmp_path)
    for name, frame in zip(names, CLIP, strict=True):
        assert_same(file.people(name=name), frame)
    file.check_frames(names=names)
    with pytest.raises(ValueError, match='c.d.json: not among the 2 images'):
        file.check_frames(names=names[:2])
    assert_same(read_keypoints(tmp_path / 'b.json').people(0), CLIP[1])
    assert_same(read_keypoints(tmp_path / 'c.d.json').people(0, 'whatever.jpg'), CLIP[2])


@pytest.mark.filterwarnings('ignore:json-tricks')
def test_keypoints_of_h36m_and_mpi_inf_3dhp_are_known_by_their_names(tmp_path):
    for dataset in ('h36m', 'mpi_inf_3dhp'):
        (tmp_path / 'a.json').write_text(json_tricks.dumps(demo(CLIP, dataset)))
        for asked in ('coco', dataset):  # coco is what unnamed ones are
            assert read_keypoints(tmp_path / 'a.json', asked).skeleton == dataset
    with pytest.raises(ValueError, match='a.json: holds keypoints of mpi_inf_3dhp, not of h36m'):
        read_keypoints(tmp_path / 'a.json', 'h36m')


def test_keypoints_without_names_are_what_the_caller_says(tmp_path):
    (tmp_path / 'a.json').write_text(
        json.dumps([{'frame_id': 0, 'instances': split_instances(CLIP[0])}], default=float)
    )
    assert read_keypoints(tmp_path / 'a.json').skeleton == 'coco'
    file = read_keypoints(tmp_path / 'a.json', 'h36m')
    assert file.skeleton == 'h36m' and len(file.people(0)) == 2 and H36M_17.num_keypoints == 17


@pytest.mark.filterwarnings('ignore:json-tricks')
@pytest.mark.parametrize(
    'dataset, count', [('crowdpose', 14), ('mpii', 16), ('posetrack18', 17), ('coco_openpose', 18)]
)
def test_other_keypoints_are_refused(tmp_path, dataset, count):
    (tmp_path / 'a.json').write_text(json_tricks.dumps(demo([predicted(1, count)], dataset)))
    with pytest.raises(ValueError, match=rf'a.json: meta_info: takes keypoints of COCO, .* of {count} keypoints'):
        read_keypoints(tmp_path / 'a.json')


def one(**changes):
    return {'keypoints': [[4.0, 5.0]] * 17, 'keypoint_scores': [0.5] * 17, **changes}


def test_tracks_and_missing_boxes(tmp_path):
    (tmp_path / 'a.json').write_text(
        json.dumps([one(track_id=3), one(bbox=[1, 2, 3, 4]), one(keypoint_scores=[0] * 17)])
    )
    file = read_keypoints(tmp_path / 'a.json')
    people = file.people(0)
    assert people.tracks.tolist() == [3, 4] and file.num_empty == 1
    assert people.bboxes.tolist() == [[4, 5, 4, 5], [1, 2, 3, 4]] and people.bbox_scores.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    'instances, message',
    [
        ([one(), one(keypoints=[[1.0, 2.0]] * 16)], 'frame 4, person 1: keypoints: takes 17 x 2 finite .*, got 16 val'),
        (
            [one(keypoints=[[1.0, 2.0]] * 14)],
            r'frame 4, person 0: keypoints: takes 17, 26, 133 or 136 keypoints .*, got 14',
        ),
        ([one(keypoints=[[1.0, 2.0, 3.0]] * 17)], "keypoints: these are 3D poses; takes a 2D model's predictions"),
        ([one(keypoints=[[1.0, float('nan')]] * 17)], 'frame 4, person 0: keypoints: takes 17 x 2 finite numbers'),
        (
            [one(), one(keypoint_scores=[0.5] * 16)],
            'frame 4, person 1: keypoint_scores: takes 17 finite .*, got 16 values',
        ),
        ([one(keypoint_scores=[float('nan')] * 17)], 'frame 4, person 0: keypoint_scores: takes .*, got nan'),
        ([one(keypoint_scores=None)], 'frame 4, person 0: keypoint_scores: takes 17 finite .*, got None'),
        ([one(bbox=[[1, 2, 3]])], 'frame 4, person 0: bbox: takes 4 finite numbers'),
        ([one(bbox_score='x')], "frame 4, person 0: bbox_score: takes a finite number, got 'x'"),
        ([one(track_id='x')], "frame 4, person 0: track: takes a whole number, got 'x'"),
        ([{'keypoint_scores': []}], 'frame 4: an instance takes keypoints and keypoint_scores'),
        ([5], 'frame 4: an instance takes'),
    ],
)
def test_bad_instances_are_reported(tmp_path, instances, message):
    (tmp_path / 'a.json').write_text(
        json.dumps([{'frame_id': 0, 'instances': []}, {'frame_id': 4, 'instances': instances}])
    )
    with pytest.raises(ValueError, match=f'a.json: {message}'):
        read_keypoints(tmp_path / 'a.json')


@pytest.mark.parametrize(
    'data, message',
    [
        ({'instance_info': 5}, "takes MMPose's list of frames"),
        ([{'frame_id': 0, 'instances': []}, 5], "takes MMPose's list of frames"),
        ([{'frame_id': 0, 'instances': []}, {}], 'record 1: takes frame_id'),
        ([{'frame_id': '0', 'instances': []}], 'record 0: takes frame_id, a whole number'),
        (
            {'instance_info': [{'frame_id': 0, 'instances': []}]},
            'record 0: frame_id: frames of such a file count from 1, got 0',
        ),
    ],
)
def test_bad_frames_are_reported(tmp_path, data, message):
    (tmp_path / 'a.json').write_text(json.dumps(data))
    with pytest.raises(ValueError, match=f'a.json: {message}'):
        read_keypoints(tmp_path / 'a.json')


def test_a_folder_takes_files_of_images_only(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps([one()]))
    (tmp_path / 'b.json').write_text(json.dumps([{'frame_id': 0, 'instances': []}]))
    with pytest.raises(ValueError, match='b.json: takes the instances of one image'):
        read_keypoints(tmp_path)
