# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from stereopose_mm.datasets.wild3d_files import column_array, read_coco, skeleton_of, write_coco
from stereopose_mm.geometry import COCO_17

from ..wild3d_samples import sample_table


@pytest.fixture
def edit(tmp_path):
    """Write a set, let a function change its JSON, give the path."""

    def edit_file(change):
        path = tmp_path / 'a.json'
        write_coco(sample_table(4), path)
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
        return path

    return edit_file


def test_missing_keys_have_defaults(edit):
    def strip(data):
        for entry in data['annotations']:
            keep = {'id', 'image_id', 'category_id', 'keypoints'}
            for key in entry.keys() - keep:
                del entry[key]
        del data['info']

    table = read_coco(edit(strip))
    assert not column_array(table, 'keypoints_3d').any() and not column_array(table, 'camera').any()
    assert (column_array(table, 'label_quality') == 1).all()
    visibility = column_array(table, 'visibility')
    np.testing.assert_array_equal(column_array(table, 'keypoint_scores'), visibility > 0)
    marked = column_array(table, 'keypoints')[0]
    box = column_array(table, 'bbox')[0]
    np.testing.assert_allclose(box[:2], marked.min(0))
    np.testing.assert_allclose(box[2:], np.ptp(marked, axis=0), rtol=1e-5)
    np.testing.assert_allclose(column_array(table, 'area')[0], box[2] * box[3], rtol=1e-6)
    assert table.column('source').null_count == table.column('extra').null_count == 4


def test_3d_may_be_nested_as_flat(edit):
    before = sample_table(4)

    def nest(data):
        entry = data['annotations'][1]
        entry['keypoints_3d'] = np.reshape(entry['keypoints_3d'], (17, 4)).tolist()

    assert read_coco(edit(nest)).equals(before)


@pytest.mark.parametrize('place', ['annotation', 'image', 'table', 'image and table'])
def test_a_camera_may_stand_in_three_places(edit, place):
    lens = [0.1, -0.2, 0.001, 0.002, 0.03]

    def move(data):
        for entry in data['annotations']:
            entry.pop('camera', None)
        camera = dict(fx=900.0, fy=901.0, cx=500.5, cy=501.0, distortion=lens)
        data['cameras'] = [dict(camera, id='left'), dict(camera, id=7, fx=1)]
        if place == 'annotation':
            data['annotations'][2]['camera'] = camera
        elif place == 'table':
            data['annotations'][2]['camera'] = 'left'
        else:
            data['images'][1]['camera'] = camera if place == 'image' else 'left'

    table = read_coco(edit(move))
    cameras = column_array(table, 'camera')
    np.testing.assert_array_equal(cameras[2], np.float32([900, 901, 500.5, 501]))
    np.testing.assert_array_equal(column_array(table, 'distortion')[2], np.float32([*lens, 0, 0, 0]))
    assert not cameras[:2].any() and cameras[3].any() == place.startswith('image')


def test_other_categories_are_left_out(edit):
    def add(data):
        data['categories'].append(dict(id=5, name='dog'))
        data['annotations'].insert(1, dict(id=99, image_id=1, category_id=5, bbox=[0, 0, 1, 1]))

    assert read_coco(edit(add)).equals(sample_table(4))


def test_cocos_own_annotations(shared_data):
    path = shared_data / 'real/coco/person_keypoints.json'
    table = read_coco(path)
    data = json.loads(path.read_text())
    assert len(table) == len(data['annotations'])
    assert skeleton_of(table.schema, '') is COCO_17
    first = data['annotations'][0]
    keypoints = np.reshape(first['keypoints'], (17, 3))
    np.testing.assert_array_equal(column_array(table, 'keypoints')[0], keypoints[:, :2])
    np.testing.assert_array_equal(column_array(table, 'visibility')[0], keypoints[:, 2])
    np.testing.assert_allclose(column_array(table, 'bbox')[0], first['bbox'], rtol=1e-6)
    np.testing.assert_allclose(column_array(table, 'area')[0], first['area'], rtol=1e-6)


def annotation(key, value, index=1):
    return lambda data: data['annotations'][index].__setitem__(key, value)


@pytest.mark.parametrize(
    'change, message',
    [
        (annotation('keypoints', [1, 2, 2]), r'annotations\[1\]\.keypoints is \[1, 2, 2\]; takes 51 numbers'),
        (annotation('keypoints', None), r'annotations\[1\]\.keypoints is absent; takes 51 numbers'),
        (annotation('keypoints', [0, 0, 3] * 17), r'annotations\[1\]\.keypoints is .* as visibilities; takes 0, 1, 2'),
        (annotation('keypoints', ['1', '2', '2'] * 17), r'annotations\[1\]\.keypoints .* takes 51 numbers'),
        (annotation('keypoints', [float('nan'), 0, 2] * 17), r'annotations\[1\]\.keypoints is .*nan.*; takes finite'),
        (annotation('keypoints_3d', [1e39, 0, 1, 1] * 17), r'annotations\[1\]\.keypoints_3d is .*inf.*; takes finite'),
        (annotation('keypoints_3d', [0, 0, 1] * 17), r'annotations\[1\]\.keypoints_3d is .*; takes 68 numbers'),
        (annotation('keypoints_3d', [0, 0, 1, 2] * 17), r'annotations\[1\]\.keypoints_3d is .* validity from 0 to 1'),
        (annotation('keypoint_scores', [1.5] * 17), r'annotations\[1\]\.keypoint_scores is .* numbers from 0 to 1'),
        (annotation('label_quality', -0.1), r'annotations\[1\]\.label_quality is -0.1'),
        (annotation('reprojection_error', 'small'), r'annotations\[1\]\.reprojection_error is small; takes 1 number'),
        (annotation('image_id', 77), r'annotations\[1\]\.image_id is 77, which images does not have'),
        (annotation('image_id', 'x'), r"annotations\[1\]\.image_id is 'x'; takes a whole number"),
        (annotation('id', 1), r'annotations\[1\]\.id is 1, which an earlier one has'),
        (annotation('camera', 'nowhere'), r"annotations\[1\]\.camera is 'nowhere', which cameras does not have"),
        (annotation('camera', dict(fx=1, fy=1, cx=0)), r'annotations\[1\]\.camera is .*; takes fx and fy above 0'),
        (annotation('camera', dict(fx=0, fy=1, cx=0, cy=0)), r'annotations\[1\]\.camera is .*; takes fx and fy'),
        (
            annotation('camera', dict(fx=1, fy=1, cx=0, cy=0, width=7)),
            r'width of annotations\[1\]\.camera is 7 and of its image 1000',
        ),
        (
            annotation('camera', dict(fx=1, fy=1, cx=0, cy=0, distortion=[1, 2, 3])),
            r'distortion of annotations\[1\]\.camera is \[1, 2, 3\]; takes 4, 5 or 8',
        ),
        (annotation('provenance', dict(seed='a')), r"annotations\[1\]\.provenance\.seed is 'a'; takes int"),
        (annotation('provenance', [1]), r'annotations\[1\]\.provenance is a list; takes a dict'),
        (lambda data: data['images'][0].pop('file_name'), r'file_name of image 1 is None; takes text'),
        (lambda data: data['images'][0].update(height=0), r'height of .* takes one positive whole number'),
        (lambda data: data['info'].update(wild3d_version=2), r'info\.wild3d_version is 2; takes 1'),
        (lambda data: data.pop('annotations'), r"takes a dict with COCO's images, annotations"),
        (annotation('category_id', [1]), r'annotations\[1\]\.category_id is \[1\]; takes a whole number'),
        (annotation('camera', []), r'annotations\[1\]\.camera is \[\], which cameras does not have'),
        (lambda data: data['annotations'][0].pop('category_id'), r'annotations\[0\]\.category_id is None'),
        (lambda data: data.update(images=None), r'annotations\[0\]\.image_id is 1, which images does not have'),
        (lambda data: data.update(categories=5), r'categories takes a list, is a int'),
        (lambda data: data['categories'].append(5), r'categories\[1\] takes a dict, is a int'),
        (lambda data: data['categories'][0].pop('id'), r'categories\[0\]\.id is None; takes a whole number'),
        (lambda data: data['categories'][0].update(keypoints=5), r'categories\.keypoints takes a list of names, is 5'),
        (lambda data: data['categories'][0].update(keypoints=['a']), r"categories\.keypoints is \['a'\].*as skeleton"),
    ],
)  # fmt: skip
def test_bad_entries_are_named(edit, change, message):
    path = edit(change)
    with pytest.raises(ValueError, match=rf'a\.json: {message}'):
        read_coco(path)


@pytest.mark.parametrize('text', ['', '{"annotations": [', '[]', '\x00', '[' * 100_000])
def test_unreadable_files_are_named(tmp_path, text):
    (tmp_path / 'bad.json').write_text(text)
    with pytest.raises(ValueError, match=r'bad\.json: '):
        read_coco(tmp_path / 'bad.json')
    with pytest.raises(ValueError, match=r'none\.json: cannot be read'):
        read_coco(tmp_path / 'none.json')


def test_one_image_is_the_same_in_all_its_rows(tmp_path):
    table = sample_table(4, image_id=[1, 1, 1, 2])
    with pytest.raises(ValueError, match=r'a\.json: .* of record 2, image 1, is .*000001.jpg'):
        write_coco(table, tmp_path / 'a.json')
    assert not list(tmp_path.iterdir())
