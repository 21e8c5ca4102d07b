# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""A file that is malformed is refused when it is opened, before any of its people is given."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from stereopose_mm.labeling.annotation_files import FORMATS, SOURCES, read_annotations
from tests.labeling.annotation_files.made_files import coco, person, record, write

GOOD = coco([record(number) for number in range(50)])
FOREIGN = ('a', *SOURCES['coco'].keypoints[1:])
MALFORMED = {
    'no images': (coco([record(1)], images=None), 'images is missing'),
    'no annotations': (coco(None), 'annotations is missing'),
    'annotations no list': (coco({'a': 1}), 'annotations is a dict'),
    'annotation no dict': (coco([record(1), 5]), r'annotations\[1\] takes a dict, is a int'),
    'image without id': (coco([], images=[{'file_name': 'a'}]), r'images\[0\]\.id is None'),
    'image without name': (coco([], images=[{'id': 4}]), r'images\[0\]\.file_name is None'),
    'image of no size': (coco([], images=[{'id': 4, 'file_name': 'a', 'width': -3}]), r'images\[0\]: width and height'),
    'two images of one id': (coco([], images=[{'id': 4, 'file_name': n} for n in 'ab']), r'images\[1\]\.id is 4'),
    'categories no list': (coco([], categories={'id': 1}), 'categories takes'),
    'no person': (coco([], categories=[{'id': 1, 'name': 'dog'}]), 'categories has no person'),
    'person without id': (
        coco([record(1)], categories=[{'name': 'person'}]),
        'categories takes a number or text as id',
    ),
    'unknown keypoints': (coco([], FOREIGN), 'categories.keypoints is'),
    'keypoints tell nothing': (coco([record(1, keypoints=person(14))], None), 'categories.keypoints is missing'),
    'empty dict': ({}, 'images is missing'),
    'empty list': ([], 'takes COCO'),
    'other list': ([1, 2], 'takes COCO'),
    'boxes only': ([{'bbox': [1, 2, 3, 4], 'image_id': 1, 'score': 0.5}], 'takes COCO'),
    'one record without keypoints': ([{'keypoints': person(), 'image_id': 1}, {'image_id': 1}], 'record 1 has no keyp'),
    'MPII without a name': ([{'joints': [], 'image': 3}], 'record 0: image is 3'),
    'AIC without people': ([{'image_id': 'a', 'keypoint_annotations': []}], 'record 0: keypoint_annotations'),
}


@pytest.mark.parametrize('case', MALFORMED)
def test_a_malformed_file_is_refused(case: str, tmp_path: Path):
    content, message = MALFORMED[case]
    path = write(tmp_path / 'bad.json', content)
    with pytest.raises(ValueError, match=message) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('part', [0.02, 0.3, 0.5, 0.9, 0.97, 0.999])
def test_a_file_that_is_cut_short_is_refused(part: float, tmp_path: Path):
    text = json.dumps(GOOD)
    (tmp_path / 'cut.json').write_text(text[: int(len(text) * part)])
    with pytest.raises(ValueError, match='cut.json: no readable JSON: .*cut short'):
        read_annotations(tmp_path / 'cut.json')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'the file is empty'),
        ('hello', 'takes JSON'),
        ('{"annotations": [{},, 2]}', r'annotations\[1\]: Expecting value'),
        ('{"images": [{"id": 1 "a": 2}]}', r'images\[0\]: Expecting'),
        ('{"images": []} x', 'text follows its end'),
        ('{"images": [], "images": []}', 'images stands twice'),
        ('{"info": ' + '[' * 100000, 'nested too deeply'),
        ('{1: 2}', 'takes a name in quotes'),
        ('{"a": 1 "b": 2}', 'takes , or }'),
        ('[{"keypoints": ' + '9' * 5000 + '}]', 'no readable JSON'),
    ],
)
def test_what_is_no_json(text: str, message: str, tmp_path: Path):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_annotations(tmp_path / 'a.json')


def test_no_utf8(tmp_path: Path):
    (tmp_path / 'a.json').write_bytes(b'{"info": "\xff\xfe"}')
    with pytest.raises(ValueError, match=r'a\.json: no readable JSON: no UTF-8'):
        read_annotations(tmp_path / 'a.json')


def test_no_file(tmp_path: Path):
    for path in (tmp_path / 'none.json', tmp_path / 'none.mat'):
        with pytest.raises(ValueError, match='cannot be read'):
            read_annotations(path)
    with pytest.raises(ValueError, match='is a folder'):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'joints': np.zeros((3, 15, 4))}, 'joints takes 3 x 14 x N'),
        ({'joints': np.array([['a', 'b']], object)}, 'joints takes'),
        ({'other': 3}, "takes MPII's RELEASE"),
        ({'RELEASE': {'version': 1}}, 'RELEASE has no annolist'),
        ({'RELEASE': {'annolist': np.zeros((1, 3)), 'img_train': np.ones((1, 2))}}, '3 in annolist, 2 in img_train'),
        ({'RELEASE': {'annolist': np.zeros((1, 2)), 'img_train': np.ones((1, 2))}}, r'annolist\(1\).image.name'),
    ],
)
def test_malformed_mat(content: dict, message: str, tmp_path: Path):
    savemat(tmp_path / 'a.mat', content)
    with pytest.raises(ValueError, match=message):
        read_annotations(tmp_path / 'a.mat')


@pytest.mark.parametrize('data', [b'', b'hello' * 100, b'MATLAB 5.0' + bytes(300)])
def test_no_mat(data: bytes, tmp_path: Path):
    (tmp_path / 'a.mat').write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.mat: no readable MATLAB'):
        read_annotations(tmp_path / 'a.mat')


def test_a_mat_that_is_cut_short(tmp_path: Path):
    savemat(tmp_path / 'a.mat', {'joints': np.random.default_rng(0).random((3, 14, 50))})
    data = (tmp_path / 'a.mat').read_bytes()
    (tmp_path / 'a.mat').write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r'a\.mat: no readable MATLAB'):
        read_annotations(tmp_path / 'a.mat')


def test_a_format_that_is_asked_for_has_to_fit(tmp_path: Path):
    path = write(tmp_path / 'a.json', GOOD)
    assert read_annotations(path, 'ochuman').format == 'ochuman'
    assert next(iter(read_annotations(path, 'ochuman'))).source[0] == 'ochuman'
    for format in ('crowdpose', 'posetrack18', 'mpii', 'lsp', 'coco_results'):
        with pytest.raises(ValueError, match=r'a\.json: .*' + format):
            read_annotations(path, format)
    unnamed = write(tmp_path / 'b.json', coco([record(1, keypoints=person(14))], None))
    assert next(iter(read_annotations(unnamed, 'aic'))).keypoint_set == 'h36m'
    assert set(FORMATS) == set(SOURCES)


@pytest.mark.parametrize('options', [{'format': 'xyz'}, {'batch_size': 0}, {'batch_size': 2.5}])
def test_bad_options(options: dict, tmp_path: Path):
    path = write(tmp_path / 'a.json', GOOD)
    with pytest.raises(ValueError, match=next(iter(options))):
        read_annotations(path, **options)
