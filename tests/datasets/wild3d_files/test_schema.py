# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from stereopose_mm.datasets.wild3d_files import column_array, make_table, wild3d_schema

from ..wild3d_samples import sample_table

K = 17


def arguments(num=3, **changes):
    rng = np.random.default_rng(0)
    return (
        dict(
            file_name=[f'{i}.jpg' for i in range(num)],
            width=np.full(num, 640),
            height=np.full(num, 480),
            keypoints=rng.uniform(0, 480, (num, K, 2)),
        )
        | changes
    )


def test_images_are_numbered_by_name():
    table = make_table('h36m', **arguments(4, file_name=['ü.jpg', 'a.jpg', 'ü.jpg', 'b.jpg']))
    assert column_array(table, 'image_id').tolist() == [1, 2, 1, 3]
    assert column_array(table, 'id').tolist() == [1, 2, 3, 4]


def test_scores_and_visibility_follow_each_other():
    scores = np.linspace(0, 1, 3 * K).reshape(3, K)
    table = make_table('h36m', **arguments(keypoint_scores=scores))
    np.testing.assert_array_equal(column_array(table, 'visibility'), 2 * (scores > 0))
    table = make_table('h36m', **arguments(visibility=np.arange(3 * K).reshape(3, K) % 3))
    np.testing.assert_array_equal(column_array(table, 'keypoint_scores'), np.arange(3 * K).reshape(3, K) % 3 > 0)


def test_columns_are_views_of_the_table():
    table = sample_table(6)
    poses = column_array(table, 'keypoints_3d')
    assert poses.shape == (6, K, 4) and poses.dtype == np.float32
    address = table.column('keypoints_3d').chunk(0).values.buffers()[1].address
    assert poses.__array_interface__['data'][0] == address
    # Of a slice too.
    sliced = column_array(table.slice(2, 3), 'keypoints_3d')
    np.testing.assert_array_equal(sliced, poses[2:5])
    assert sliced.__array_interface__['data'][0] == address + 2 * K * 4 * 4


def test_what_may_be_absent_is_null():
    table = make_table('h36m', **arguments(reprojection_error=[1.0, None, np.nan]))
    assert table.column('reprojection_error').to_pylist() == [1.0, None, None]
    assert table.column('detection_score').null_count == table.column('seed').null_count == 3


def test_the_schema_does_not_drift():
    # Files that are out there have these columns: another set of them is another version.
    assert wild3d_schema('h36m').metadata[b'wild3d.version'] == b'1'
    columns = (
        'id image_id file_name width height bbox area iscrowd keypoints visibility keypoint_scores keypoints_3d '
        'camera distortion label_quality detection_score reprojection_error search_residual source source_record '
        'generator config_hash seed extra'
    )
    assert wild3d_schema('h36m').names == columns.split()


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(keypoints=np.zeros((3, 16, 2))),
            r'column keypoints: has the shape .* takes 34 numbers for each of 3 rows',
        ),
        (dict(keypoints=np.zeros((2, K, 2))), r'column keypoints: has 2 entries; takes one for each of 3 rows'),
        (dict(keypoints=np.full((3, K, 2), 'a')), r'column keypoints: takes numbers'),
        (dict(keypoints=None), r'column keypoints is needed'),
        (dict(keypoints=np.full((3, K, 2), np.nan)), r'keypoints of record 0 is .*; takes finite numbers'),
        (dict(keypoints_3d=np.full((3, K, 4), [0, 0, 1, -1])), r'keypoints_3d of record 0'),
        (dict(label_quality=[0, 1, 1.01]), r'label_quality of record 2 is 1.0\d*; takes numbers from 0 to 1'),
        (dict(keypoint_scores=np.full((3, K), 2)), r'keypoint_scores of record 0'),
        (dict(visibility=np.full((3, K), 3)), r'visibility of record 0 is .*; takes 0, 1 or 2'),
        (
            dict(visibility=np.zeros((3, K)), keypoint_scores=np.ones((3, K)), bbox=np.zeros((3, 4))),
            r'keypoint_scores of record 0 .* takes 0 where the visibility is 0',
        ),
        (dict(width=[640, 640, 0]), r'width of record 2 is 0; takes a positive number'),
        (dict(camera=[[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]), r'camera of record 1 .* all 0: not known'),
        (dict(distortion=np.ones((3, 8))), r'distortion of record 0 .* 0 without a camera'),
        (dict(file_name=['a', 'b', None]), r'file_name of record 2 is None; takes a value'),
        (dict(source=['a', 1, None]), r'column source: '),
        (dict(seed=[1, 2, 2**63]), r'column seed: '),
        (dict(extra=['{"a": 1}', '[]', None]), r"extra of record 1 is '\[\]'; takes a JSON object"),
        (dict(extra=['{"seed": 1}', None, None]), r'extra of record 0'),
        (dict(colour=[1, 2, 3]), r"unknown columns \['colour'\]"),
    ],
)
def test_bad_columns_are_named(changes, message):
    with pytest.raises(ValueError, match=f'make_table: {message}'):
        make_table('h36m', **arguments(**changes))
