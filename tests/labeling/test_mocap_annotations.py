# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import torch

from stereopose_mm.geometry import COCO_17, H36M_COCO, Camera
from stereopose_mm.labeling import read_annotations
from stereopose_mm.labeling.calibration import POPULATION
from stereopose_mm.labeling.mocap_annotations import NOISES, write_mocap_annotations

from ..engine.accuracy.conftest import mocap_files  # noqa: F401


@pytest.fixture
def make(mocap_files, tmp_path):  # noqa: F811
    """Write annotations into an empty folder; gives the summary, the annotations as read, and the truth."""

    def run(num, noise='annotator', name='a', **options):
        files = tmp_path / name / 'people.json', tmp_path / name / 'truth.npz'
        done = write_mocap_annotations(mocap_files[1], *files, num, noise, **options)
        with np.load(files[1], allow_pickle=False) as truth:
            return done, json.loads(files[0].read_text()), {key: truth[key] for key in truth.files}

    return run


def test_exact_keypoints_are_projections_of_the_truth(make):
    _, content, truth = make(300, 'none', split='test')
    keypoints = np.array([a['keypoints'] for a in content['annotations']]).reshape(300, 17, 3)
    assert (truth['id'] == [a['id'] for a in content['annotations']]).all()
    assert truth['joints'].dtype == np.float32 and truth['camera'].dtype == np.float32
    camera = Camera(*torch.from_numpy(truth['camera']).T)
    pixels = camera.project(torch.from_numpy(truth['joints'])).numpy()
    # Each of COCO's keypoints of these bodies is 3 ± 1 cm a coordinate off a joint.
    off = np.linalg.norm(keypoints[..., :2] - pixels[:, list(H36M_COCO.parents[17:])], axis=-1)
    nearest = truth['joints'][..., 2].min(1) - 0.1
    marked = keypoints[..., 2] > 0
    assert marked.mean() > 0.97 and (off < 0.12 * (truth['camera'][:, 0] / nearest)[:, None])[marked].all()
    assert set(np.unique(keypoints[..., 2])) <= {0, 2}


def test_boxes_flags_and_counts_agree_with_the_keypoints(make):
    done, content, truth = make(500, 'mixed')
    assert len(content['annotations']) == len(content['images']) == done.people == 500
    empty = 0
    for image, annotation in zip(content['images'], content['annotations'], strict=True):
        assert annotation['image_id'] == image['id'] == annotation['id']
        x, y, flag = np.array(annotation['keypoints']).reshape(17, 3).T
        marked = flag > 0
        assert annotation['num_keypoints'] == marked.sum() and set(flag) <= {0, 1, 2}
        assert (x[~marked] == 0).all() and (y[~marked] == 0).all()
        assert (x < image['width'] + 0.01).all() and (y < image['height'] + 0.01).all()
        left, top, width, height = annotation['bbox']
        inside = (x > left - 0.02) & (x < left + width + 0.02) & (y > top - 0.02) & (y < top + height + 0.02)
        assert inside[marked].all() and left >= 0 and left + width <= image['width'] + 0.02
        empty += not marked.any()
    assert done.unmarked == empty
    assert done.poses == len(np.unique(truth['frame'])) <= 48
    assert content['categories'][0]['keypoints'] == list(COCO_17.joint_names)


def test_kinds_have_their_shares_and_their_errors(make):
    _, content, truth = make(2000, 'mixed')
    names = truth['kind_names'][truth['kind']]
    for kind, share in NOISES['mixed'].items():
        assert (names == kind).mean() == pytest.approx(share, abs=1e-3)
    flags = np.array([a['keypoints'] for a in content['annotations']]).reshape(-1, 17, 3)[..., 2]
    annotated = flags[names == 'annotated']
    assert (annotated == 1).sum() / (annotated > 0).sum() == pytest.approx(0.2, abs=0.02)
    assert (flags[names == 'exact'] != 1).all() and (flags[names == 'detected'] == 1).any()
    low, high = POPULATION['few'].noise.missing_count
    missing = (flags[names == 'few'] == 0).sum(1)
    assert low <= missing.min() and (missing <= high).mean() > 0.5


def test_the_label_generator_reads_them(make, tmp_path):
    done, content, _ = make(150, 'detector')
    file = read_annotations(tmp_path / 'a/people.json', batch_size=64)
    assert file.format == 'coco' and file.keypoint_set == 'coco'
    batches = list(file)
    assert sum(map(len, batches)) + done.unmarked == 150
    good = np.concatenate([batch.problem == '' for batch in batches])
    assert good.mean() > 0.9
    first = np.array(content['annotations'][0]['keypoints']).reshape(17, 3)
    assert np.allclose(batches[0].keypoints[0][first[:, 2] > 0], first[first[:, 2] > 0, :2])
    assert (batches[0].image_size == [1920, 1080]).all()


def test_same_arguments_same_bytes_and_other_seed_other_people(make, tmp_path):
    make(5000, 'annotator', 'a', seed=3)
    make(5000, 'annotator', 'b', seed=3)
    _, content, _ = make(200, 'annotator', 'c', seed=4)
    for name in ('people.json', 'truth.npz'):
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()
    first = json.loads((tmp_path / 'a/people.json').read_text())['annotations'][:200]
    same = [a['keypoints'] == b['keypoints'] for a, b in zip(first, content['annotations'], strict=True)]
    assert not any(same)


def test_subjects_of_the_split(make, mocap_files):  # noqa: F811
    with np.load(mocap_files[1]) as bodies:
        subjects = bodies['clip_subjects'][bodies['clip_index']]
    # Frames count those of the chosen clips: one of twelve frames for training, three held aside.
    assert make(400, split='train', name='a')[2]['frame'].max() == (subjects == 'cmu01').sum() - 1
    assert make(400, split='test', name='b')[2]['frame'].max() == (subjects != 'cmu01').sum() - 1
    assert make(400, split='all', name='c')[2]['frame'].max() == len(subjects) - 1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num=0), 'num takes a whole number of at least 1, got 0'),
        (dict(noise='fog'), "noise takes one of .*, got 'fog'"),
        (dict(split='dev'), "split takes one of .*, got 'dev'"),
        (dict(seed=-1), 'seed takes a whole number of at least 0, got -1'),
        (dict(out='people.txt'), 'out takes a file name that ends in .json'),
        (dict(truth='truth.npy'), 'truth takes a file name that ends in .npz'),
        (dict(mocap='nothing.npz'), 'nothing.npz: no such file'),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(mocap_files, tmp_path, changes, message):  # noqa: F811
    arguments = dict(mocap=mocap_files[1], out='people.json', truth='truth.npz', num=10) | changes
    for name in ('out', 'truth'):
        arguments[name] = tmp_path / 'new' / arguments[name]
    with pytest.raises(ValueError, match=message):
        write_mocap_annotations(**arguments)
    assert not list(tmp_path.iterdir())


def test_a_failure_midway_leaves_the_files_that_were_there(make, mocap_files, tmp_path, monkeypatch):  # noqa: F811
    from stereopose_mm.labeling import mocap_annotations

    make(100)
    before = {path.name: path.read_bytes() for path in (tmp_path / 'a').iterdir()}
    whole = mocap_annotations._annotation_lines

    def breaks(ids, people):
        if ids[0] > 1:
            raise OSError('no space left')
        return whole(ids, people)

    monkeypatch.setattr(mocap_annotations, '_annotation_lines', breaks)
    with pytest.raises(OSError, match='no space left'):
        make(5000)
    assert {path.name: path.read_bytes() for path in (tmp_path / 'a').iterdir()} == before
