# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Agreement with MMPose's own datasets on real annotations, joint by joint by name."""

from pathlib import Path

import numpy as np
import pytest
from mmpose.registry import DATASETS
from mmpose.utils import register_all_modules

from stereopose_mm.geometry import get_skeleton
from stereopose_mm.labeling.annotation_files import SOURCES, read_annotations
from stereopose_mm.labeling.annotations import Annotations

SAMPLES = {
    'coco': ('CocoDataset', 'coco/person_keypoints.json'),
    'mpii': ('MpiiDataset', 'mpii/test_mpii.json'),
    'aic': ('AicDataset', 'aic/test_aic.json'),
    'crowdpose': ('CrowdPoseDataset', 'crowdpose/test_crowdpose.json'),
    'ochuman': ('OCHumanDataset', 'ochuman/test_ochuman.json'),
    'humanart': ('HumanArtDataset', 'humanart/test_humanart.json'),
}
# MMPose's name where it differs from the annotation file's.
MMPOSE_NAMES = {'head': 'top_head'}


def _read(path: Path, **options: object) -> Annotations:
    return Annotations.concatenate(list(read_annotations(path, **options)))


def _mmpose(kind: str, path: Path) -> tuple[list[dict], list[str]]:
    register_all_modules(init_default_scope=True)
    dataset = DATASETS.build({'type': kind, 'ann_file': str(path), 'test_mode': True})
    names = [dataset.metainfo['keypoint_id2name'][k] for k in range(dataset.metainfo['num_keypoints'])]
    return [dataset.get_data_info(i) for i in range(len(dataset))], names


@pytest.mark.parametrize('format', SAMPLES)
def test_keypoints_are_those_of_mmpose(format: str, shared_data: Path):
    kind, name = SAMPLES[format]
    path = shared_data / 'real' / name
    people, source = _read(path), SOURCES[format]
    if format == 'crowdpose':  # MMPose reads the size of images that this file has
        assert (people.image_size > 0).all()
    theirs, names = _mmpose(kind, path)
    by_record = {str(info['id']): info for info in theirs}
    target = get_skeleton(source.keypoint_set)
    good = people.select(people.problem == '')
    assert len(good) > 1
    for row, key in enumerate(good.record):
        info = by_record[key]
        assert info['img_path'].endswith(good.file_name[row])
        for joint, choices in source.mapping.items():
            k = target.index(joint)
            for parts in choices:
                index = [names.index(MMPOSE_NAMES.get(part, part)) for part in parts]
                if (info['keypoints_visible'][0, index] > 0).all():
                    expected = info['keypoints'][0, index].mean(0) - source.origin
                    np.testing.assert_allclose(good.keypoints[row, k], expected, atol=2e-4)
                    assert good.visibility[row, k] > 0
                    break
            else:
                assert good.visibility[row, k] == 0
                assert good.scores[row, k] == 0
        box = good.bbox[row]
        corners = np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]])
        if format == 'mpii':  # the others' boxes MMPose clips to the image
            np.testing.assert_allclose(corners, info['bbox'][0], atol=1e-2)
        else:
            size = np.tile(good.image_size[row], 2)
            np.testing.assert_allclose(corners.clip(0, size - 1), info['bbox'][0], atol=1e-3)


@pytest.mark.parametrize('format', [*SAMPLES, 'posetrack18'])
def test_names_are_those_of_mmpose(format: str):
    kind = SAMPLES.get(format, ('PoseTrack18Dataset',))[0]
    register_all_modules(init_default_scope=True)
    metainfo = DATASETS.build({'type': kind, 'lazy_init': True}).metainfo
    names = [metainfo['keypoint_id2name'][k] for k in range(metainfo['num_keypoints'])]
    assert [MMPOSE_NAMES.get(name, name) for name in SOURCES[format].keypoints] == names


def test_every_format_is_told_by_its_content(shared_data: Path):
    for format, (_, name) in SAMPLES.items():
        file = read_annotations(shared_data / 'real' / name)
        assert (file.format, file.source) == (format, format)


def test_posetrack18(shared_data: Path):
    path = shared_data / 'real/posetrack18/annotations/test_posetrack18_val.json'
    file = read_annotations(path)
    people = Annotations.concatenate(list(file))
    assert (file.format, file.keypoint_set, file.num_people) == ('posetrack18', 'h36m', 14)
    row = list(people.record).index('1012834000001')
    # Its nose, head top and left shoulder, as the file has them; the flag 1 says that they are visible.
    assert people.visibility[row, [9, 10, 11]].tolist() == [2, 2, 2]
    assert (people.visibility[:, 7] == 0).all()  # nobody marks a spine
    no_hips = people.select(people.problem != '')
    assert set(no_hips.problem) == {'no root: neither pelvis nor both hips are marked'}
    assert (no_hips.keypoints == 0).all()
    assert people.file_name[row].startswith('images/val/')


def test_unmarked_people_are_counted_and_left_out(shared_data: Path):
    file = read_annotations(shared_data / 'real/coco/person_keypoints.json')
    assert (file.num_people, file.num_unmarked, file.num_other) == (12, 2, 0)
    assert sum(map(len, file)) == 12


def test_drawn_people_are_told_from_real_ones(shared_data: Path):
    people = _read(shared_data / 'real/humanart/test_humanart.json')
    assert people.source.tolist() == ['humanart_virtual', 'humanart_virtual', 'humanart', 'humanart']


def test_flags_become_scores(shared_data: Path):
    people = _read(shared_data / 'real/coco/person_keypoints.json')
    assert {0: 0.0, 1: np.float32(0.7), 2: np.float32(0.9)} == {
        flag: people.scores[people.visibility == flag].mean(dtype=np.float64).astype(np.float32)
        for flag in np.unique(people.visibility)
    }


@pytest.mark.parametrize('images', ['coco', 'coco/person_keypoints.json'])
def test_detections_find_their_images(images: str, shared_data: Path):
    real = shared_data / 'real'
    people = _read(real / 'coco/movenet_keypoints.json', images=real / images)
    truth = _read(real / 'coco/person_keypoints.json')
    assert set(people.file_name) <= set(truth.file_name)
    assert (people.problem == '').all()
    assert people.person_score[0] == pytest.approx(0.52777, abs=1e-4)
    assert people.scores[0, 0] == pytest.approx(0.569)
    assert (people.image_size[0] == ((640, 425) if images.endswith('.json') else (0, 0))).all()


def test_detections_without_images_have_no_name(shared_data: Path):
    people = _read(shared_data / 'real/coco/movenet_keypoints.json')
    assert (people.file_name == '').all()
    assert (people.problem == '').all()
