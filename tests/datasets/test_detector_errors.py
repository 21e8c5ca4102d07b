# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from stereopose_mm.datasets.detector_errors import (
    DetectedPeople,
    average_recall,
    error_lengths,
    imitate_people,
    join_people,
    measure_errors,
    read_detected_people,
)
from stereopose_mm.datasets.detector_noise import _FACTOR, _GROSS, COCO_GROUPS, MEASURED, DetectorNoise, body_size
from stereopose_mm.datasets.lifting_dataset import load_metainfo
from stereopose_mm.geometry import COCO_17

REAL = {
    'coco': 'person_keypoints.json', 'aic': 'test_aic.json', 'crowdpose': 'test_crowdpose.json',
    'humanart': 'test_humanart.json', 'mpii': 'test_mpii.json', 'ochuman': 'test_ochuman.json',
    'posetrack18': 'annotations/test_posetrack18_val.json', 'h36m': 'annotations.npz',
    'mpi_inf_3dhp': 'annotations.npz',
}  # fmt: skip
# COCO-17 of somebody who stands with the arms out, pixels.
STANDING = np.array(
    [
        [0, -300], [12, -310], [-12, -310], [30, -300], [-30, -300], [70, -220], [-70, -220], [160, -200], [-160, -200],
        [240, -200], [-240, -200], [50, 0], [-50, 0], [80, 190], [-80, 190], [90, 380], [-90, 380],
    ], float,
)  # fmt: skip


def made_people(num, noise=None, seed=0, spread=40):
    """People who stand about, all joints annotated; detected exactly, or by an imitation."""
    annotated = 600 + STANDING + spread * np.random.default_rng(seed).standard_normal((num, 17, 2))
    size = body_size(torch.from_numpy(annotated)).numpy()
    people = DetectedPeople(
        annotated, np.ones((num, 17), bool), annotated, np.ones((num, 17)), size, np.square(1.6 * size),
        np.full(num, 'made'),
    )  # fmt: skip
    return people if noise is None else imitate_people(people, noise, 1, seed)


def values(people):
    return {name: measure['value'] for name, measure in measure_errors(people, num_bootstrap=0)['measures'].items()}


@pytest.fixture(scope='module')
def remeasured():
    noise = DetectorNoise(
        clean_prob=0.0, jitter=0.1, swap_prob=0.0, missing_prob=0.05, gross_prob=0.12, inversion_prob=0.05
    )
    return noise, values(made_people(500, noise))


def test_measuring_an_imitation_gives_its_parameters_back(remeasured):
    noise, measured = remeasured
    assert measured['jitter'] == pytest.approx(noise.jitter, rel=0.1)
    assert measured['gross_prob'] == pytest.approx(noise.gross_prob, rel=0.12)
    assert measured['gross_scale'] == pytest.approx(noise.gross_scale, rel=0.1)
    assert measured['inversion_prob'] == pytest.approx(noise.inversion_prob, rel=0.25)
    for group in COCO_GROUPS:
        assert measured[f'factor/{group}'] == pytest.approx(_FACTOR[group], rel=0.1), group
        assert measured[f'gross/{group}'] == pytest.approx(noise.gross_prob * _GROSS[group], abs=0.035), group


def test_measuring_an_imitation_gives_its_scores_back(remeasured):
    measured = remeasured[1]
    assert measured['score_intercept'] == pytest.approx(-1.12, abs=0.15)
    assert measured['score_slope'] == pytest.approx(-0.64, abs=0.07)
    assert measured['score_blur'] == pytest.approx(0.79, abs=0.07)
    assert -0.6 < measured['rank_correlation'] < -0.25


def test_swaps_of_an_imitation_are_found():
    noise = DetectorNoise(clean_prob=0.0, jitter=0.02, swap_prob=0.3, missing_prob=0.0)
    people = made_people(400, noise, spread=10)
    # A third of the swaps are of the whole body; whose joints are mostly elsewhere then, is lost.
    assert values(people)['swap_prob'] + error_lengths(people)[1].mean() == pytest.approx(0.3, abs=0.06)


def test_more_of_an_error_is_measured_as_more():
    less, more = (values(made_people(200, replace(MEASURED, level=level))) for level in (0.5, 1.0))
    for name in ('jitter', 'gross_prob', 'inversion_prob', 'score_below_0.2'):
        assert more[name] > less[name], name
    assert more['average_recall'] < less['average_recall'] - 0.15


def test_exact_detections_have_no_errors():
    errors, lost = error_lengths(made_people(5))
    assert not errors.any() and not lost.any()
    assert (average_recall(made_people(5)) == 1).all()


def test_people_who_were_found_elsewhere_are_lost():
    people = made_people(10)
    detected = people.detected.copy()
    detected[:3] += 2 * people.size[:3, None, None]
    detected[3, :8] += 2 * people.size[3]
    lost = error_lengths(replace(people, detected=detected))[1]
    assert lost.tolist() == [True] * 3 + [False] * 7


def test_average_recall_by_hand():
    # One annotated joint, off by d: OKS = exp(-d² / (2 area (2 sigma)²)); the shoulder's sigma is 0.079.
    people = made_people(1)
    known = np.zeros((1, 17), bool)
    known[0, 5] = True
    for oks, share in ((0.97, 1.0), (0.82, 0.7), (0.51, 0.1), (0.4, 0.0)):
        off = np.sqrt(-2 * np.log(oks) * people.area[0]) * 2 * 0.079
        detected = people.annotated + [off, 0]
        assert average_recall(replace(people, known=known, detected=detected))[0] == pytest.approx(share)


def test_swapped_arms_are_a_swap_and_not_inversions():
    people = made_people(40, spread=10)
    people.scores[:] = np.random.default_rng(1).uniform(0.2, 0.9, people.scores.shape)
    detected = people.detected.copy()
    for a, b in ((5, 6), (7, 8), (9, 10)):
        detected[:10, [a, b]] = detected[:10, [b, a]]
    detected[10:18, 13] = detected[10:18, 14]
    detected += np.random.default_rng(0).standard_normal(detected.shape)
    measured = measure_errors(replace(people, detected=detected), num_bootstrap=0)['measures']
    assert measured['swap_prob']['value'] == pytest.approx(10.5 / 41)
    eligible = measured['inversion_prob']['samples']
    assert measured['inversion_prob']['value'] == pytest.approx(8.5 / (eligible + 1))
    assert measured['gross_prob']['value'] < 0.03


def test_intervals_hold_the_value_and_are_seeded():
    people = made_people(20, MEASURED)
    one, other = (measure_errors(people, num_bootstrap=8, seed=3) for _ in range(2))
    assert one == other
    low, high = one['measures']['score_slope']['interval']
    assert low < one['measures']['score_slope']['value'] < high
    assert sum(row['samples'] for row in one['score_bins']) == one['measures']['score_slope']['samples']


# Files.


def result(keypoints, **keys):
    values = np.concatenate([keypoints, np.full((17, 1), 0.7)], axis=1)
    return dict(category_id=1, keypoints=values.ravel().tolist(), score=0.7, **keys)


def write_coco(folder, dataset='coco', **changes):
    """Two people in one picture, one in a drawing, annotated with MMPose's joints of a dataset; and detections."""
    metainfo = load_metainfo(dict(from_file=f'configs/_base_/datasets/{dataset}.py'))
    names = [metainfo['keypoint_id2name'][k] for k in range(metainfo['num_keypoints'])]
    people = 300 + STANDING + np.arange(3)[:, None, None] * 5
    annotations, results = [], []
    for index, person in enumerate(people):
        joints = [[*person[COCO_17.index(name)], 2] if name in COCO_17.joint_names else [300, 300, 2] for name in names]
        box = [10.0 * index, 20.0, 30.0, 40.0]
        annotations.append(
            dict(id=50 + index, image_id=index // 2, bbox=box, keypoints=np.ravel(joints).tolist(), area=9e4)
        )
        results.append(result(person + [3, 4], image_id=index // 2, annotation_id=50 + index, bbox=box) | changes)
    images = [dict(id=0, file_name='real/a.jpg'), dict(id=1, file_name='drawn/b.jpg')]
    files = folder / 'ann.json', folder / 'results.json'
    files[0].write_text(json.dumps(dict(images=images, annotations=annotations)))
    files[1].write_text(json.dumps(results))
    return files


@pytest.mark.parametrize(('dataset', 'joints'), [('coco', 17), ('aic', 12), ('crowdpose', 12), ('posetrack18', 15)])
def test_joints_are_matched_by_name(tmp_path, dataset, joints):
    people = read_detected_people(*write_coco(tmp_path, dataset), dataset)
    assert len(people) == 3 and (people.known.sum(1) == joints).all()
    off = np.linalg.norm(people.detected - people.annotated, axis=-1)
    assert off[people.known] == pytest.approx(5)
    assert (people.area == 9e4).all() and (people.scores == 0.7).all()


def test_people_are_matched_by_their_boxes_and_drawings_left_out(tmp_path):
    ann_file, results = write_coco(tmp_path)
    records = json.loads(results.read_text())
    for record in records:
        del record['annotation_id']
        record['bbox'][0] += 0.004
    results.write_text(json.dumps(records[::-1]))
    people = read_detected_people(ann_file, results, 'coco', ['drawn/*'])
    assert len(people) == 2
    assert np.linalg.norm(people.detected - people.annotated, axis=-1) == pytest.approx(5)


def test_lists_like_mpii(tmp_path):
    names = list(load_metainfo(dict(from_file='configs/_base_/datasets/mpii.py'))['keypoint_id2name'].values())
    joints = [STANDING[COCO_17.index(n)].tolist() if n in COCO_17.joint_names else [0.0, 0.0] for n in names]
    person = dict(joints=joints, joints_vis=[1] * 16, image='a.jpg')
    hidden = person | dict(joints_vis=[0] * 11 + [1] * 5)
    (tmp_path / 'mpii.json').write_text(json.dumps([hidden, person]))
    records = [result(STANDING, file_name='a.jpg', record=k) for k in range(2)]
    (tmp_path / 'results.json').write_text(json.dumps(records))
    people = read_detected_people(tmp_path / 'mpii.json', tmp_path / 'results.json', 'mpii')
    # Who has but five joints annotated has no size: left out.
    assert len(people) == 1 and people.known.sum() == 12
    assert people.area[0] == pytest.approx((1.6 * people.size[0]) ** 2)


def test_npz_like_human36m(tmp_path):
    part = np.zeros((2, 17, 3))
    part[..., 2] = 1
    for h36m, coco in ((3, 16), (6, 15), (1, 12), (4, 11), (2, 14), (5, 13)):
        part[:, h36m, :2] = STANDING[coco]
    np.savez(tmp_path / 'a.npz', part=part, imgname=np.array(['S1/a.jpg', 'S1/b.jpg']))
    (tmp_path / 'results.json').write_text(json.dumps([result(STANDING + 1, file_name='S1/b.jpg')]))
    people = read_detected_people(tmp_path / 'a.npz', tmp_path / 'results.json', 'h36m')
    assert len(people) == 1 and people.known.sum() == 12
    legs = [11, 12, 13, 14, 15, 16]
    assert people.detected[0, legs] - people.annotated[0, legs] == pytest.approx(1)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(annotation_id=7), r'results.json: record 0: annotation_id: 0 annotations match 7'),
        (dict(keypoints=[1.0] * 50), r'results.json: record 0: keypoints: takes 51 numbers'),
        (dict(keypoints=[1.0] * 50 + [float('nan')]), r'results.json: record 0: keypoints: takes finite numbers'),
    ],
)
def test_bad_results_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_detected_people(*write_coco(tmp_path, **changes), 'coco')


def test_bad_annotations_are_named(tmp_path):
    ann_file, results = write_coco(tmp_path)
    with pytest.raises(ValueError, match='MMPose has no configs/_base_/datasets/nothing.py'):
        read_detected_people(ann_file, results, 'nothing')
    with pytest.raises(ValueError, match='none.json: cannot be read: No such file'):
        read_detected_people(tmp_path / 'none.json', results, 'coco')
    with pytest.raises(ValueError, match='results.json: has no person with 6 joints annotated'):
        read_detected_people(ann_file, results, 'coco', ['*'])
    good = json.loads(ann_file.read_text())
    for key, value, message in (
        ('keypoints', [1, 2], 'ann.json: record 1: keypoints: takes 51 numbers'),
        ('image_id', 9, 'ann.json: record 1: has no 9'),
    ):
        bad = json.loads(ann_file.read_text())
        bad['annotations'][1][key] = value
        (tmp_path / 'bad').mkdir(exist_ok=True)
        (tmp_path / 'bad/ann.json').write_text(json.dumps(bad))
        with pytest.raises(ValueError, match=message):
            read_detected_people(tmp_path / 'bad/ann.json', results, 'coco')
    for text, message in (
        ('[', 'no readable JSON'),
        ('3', "takes COCO's annotations or MPII's list, got NoneType|int"),
    ):
        (tmp_path / 'bad/ann.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            read_detected_people(tmp_path / 'bad/ann.json', results, 'coco')
    (tmp_path / 'bad/ann.json').write_text(json.dumps(good | dict(images=[3])))
    with pytest.raises(ValueError, match='images: takes dicts'):
        read_detected_people(tmp_path / 'bad/ann.json', results, 'coco')
    np.savez(tmp_path / 'bad.npz', part=np.zeros((2, 16, 3)), imgname=np.array(['a', 'b']))
    with pytest.raises(ValueError, match=r'bad.npz: part: takes finite \(2, 17, 3\), got \(2, 16, 3\)'):
        read_detected_people(tmp_path / 'bad.npz', results, 'h36m')


def test_the_page_has_what_the_real_files_give(shared_data, project_root):
    real = shared_data / 'real'
    people = join_people(
        [
            read_detected_people(real / name / ann, real / name / 'movenet_keypoints.json', name, ['*virtual_human*'])
            for name, ann in REAL.items()
        ]
    )
    page = json.loads((project_root / 'docs/results/detector_noise.json').read_text())
    assert len(people) == page['people'] == sum(source['people'] for source in page['sources'])
    for name, value in values(people).items():
        assert value == pytest.approx(page['measures'][name]['value'], rel=1e-4), name
        low, high = page['measures'][name]['interval']
        assert low <= high
