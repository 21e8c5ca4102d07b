# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Written, read, identical: to the bit, whatever a set may hold."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from xtcocotools.coco import COCO

from stereopose_mm.datasets.wild3d_files import (
    column_array,
    info_of,
    make_table,
    read_coco,
    read_parquet,
    write_coco,
    write_parquet,
)
from stereopose_mm.geometry import get_skeleton

from ..wild3d_samples import sample_table

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
UNIT = st.floats(0, 1, width=32)
POSITIVE = st.floats(2**-10, 2**17, width=32)
# JSON can hold half of a surrogate pair, UTF-8 and so Arrow cannot.
TEXT = st.text(st.characters(exclude_categories=['Cs']), max_size=12)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT, lambda s: st.lists(s, max_size=2), max_leaves=4
)


@st.composite
def tables(draw):
    skeleton = draw(st.sampled_from(['h36m', 'coco', 'mpi_inf_3dhp']))
    num, k = draw(st.integers(1, 4)), get_skeleton(skeleton).num_keypoints
    visibility = draw(arrays(np.uint8, (num, k), elements=st.integers(0, 2)))
    scores = draw(arrays(np.float32, (num, k), elements=UNIT)) * (visibility > 0)
    pose = draw(arrays(np.float32, (num, k, 4), elements=NUMBERS))
    pose[..., 3] = draw(arrays(np.float32, (num, k), elements=UNIT))
    has_3d, has_camera = (draw(arrays(bool, num)) for _ in range(2))
    camera = np.concatenate([draw(arrays(np.float32, (num, 2), elements=e)) for e in (POSITIVE, NUMBERS)], -1)
    camera = np.where(has_camera[:, None], camera, 0)
    lens = draw(arrays(np.float32, (num, 8), elements=NUMBERS))
    lens = np.where(has_camera[:, None], lens, 0)
    names = draw(st.lists(TEXT, min_size=num, max_size=num))
    entry = st.fixed_dictionaries(
        {},
        optional=dict(
            source=TEXT, source_record=TEXT, generator=TEXT, config_hash=TEXT, seed=st.integers(-(2**63), 2**63 - 1)
        )
        | {'tilt, "°"': JSON_VALUES, '}': TEXT},
    )
    many = dict(min_size=num, max_size=num)
    return make_table(
        skeleton,
        draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        id=draw(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, **many)),
        file_name=names,
        # One size for each picture.
        width=[1 + len(name) for name in names],
        height=np.full(num, 2**31 - 1),
        bbox=draw(arrays(np.float32, (num, 4), elements=NUMBERS)),
        area=draw(arrays(np.float32, num, elements=NUMBERS)),
        iscrowd=draw(arrays(bool, num)),
        keypoints=draw(arrays(np.float32, (num, k, 2), elements=NUMBERS)),
        visibility=visibility,
        keypoint_scores=scores,
        keypoints_3d=np.where(has_3d[:, None, None], pose, 0),
        camera=camera,
        distortion=lens + np.float32(0),  # a zero of no sign: that no lens is none, not -0
        label_quality=draw(arrays(np.float32, num, elements=UNIT)),
        detection_score=draw(st.lists(st.none() | NUMBERS, **many)),
        reprojection_error=draw(st.lists(st.none() | NUMBERS, **many)),
        provenance=draw(st.lists(st.none() | entry, **many)),
    )


def identical(left, right):
    """Equal in every bit: floats by their bytes, so that -0 is not 0."""
    assert left.schema.equals(right.schema, check_metadata=True)
    assert left.equals(right)
    for name in ('keypoints', 'keypoint_scores', 'camera', 'bbox'):
        assert column_array(left, name).tobytes() == column_array(right, name).tobytes(), name
    # A pose of nothing but zeros is no pose, with or without signs.
    known = (column_array(left, 'keypoints_3d') != 0).any((1, 2))
    assert column_array(left, 'keypoints_3d')[known].tobytes() == column_array(right, 'keypoints_3d')[known].tobytes()


@settings(deadline=None, max_examples=40)
@given(tables(), st.integers(1, 3))
def test_json_and_parquet_give_back_what_was_written(table, shards):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_coco(table, folder / 'a.json')
        from_json = read_coco(folder / 'a.json')
        identical(from_json, table)
        write_parquet(from_json, folder / 'shards', 'all', min(shards, len(table)))
        from_parquet = read_parquet(folder / 'shards')
        identical(from_parquet, table)
        write_coco(from_parquet, folder / 'b.json')
        assert (folder / 'a.json').read_bytes() == (folder / 'b.json').read_bytes()


def test_what_a_decimal_would_round_twice_is_written_in_full(tmp_path):
    # Every float32 next to a power of two, and random bits.
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 17 * 2 * 500, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers = np.where(np.isfinite(numbers), numbers, 0)
    powers = np.float32(2) ** np.arange(-149, 127, dtype=np.float32)
    near = np.concatenate([powers, np.nextafter(powers, np.float32(0)), np.nextafter(powers, np.float32(np.inf))])
    numbers[: len(near)] = near
    count = len(numbers) // 34
    keypoints = numbers.reshape(count, 17, 2)
    table = make_table(
        'h36m', file_name=['a'] * count, width=[1] * count, height=[1] * count, keypoints=keypoints,
        bbox=np.zeros((count, 4)),
    )  # fmt: skip
    write_coco(table, tmp_path / 'a.json')
    assert column_array(read_coco(tmp_path / 'a.json'), 'keypoints').tobytes() == keypoints.tobytes()


def test_coco_tools_read_it(tmp_path):
    table = sample_table(6)
    write_coco(table, tmp_path / 'a.json')
    coco = COCO(str(tmp_path / 'a.json'))
    assert coco.loadCats(coco.getCatIds('person'))[0]['keypoints'] == list(get_skeleton('h36m').joint_names)
    assert [image['file_name'] for image in coco.loadImgs([1, 2, 3])] == ['000000.jpg', '000001.jpg', '000002.jpg']
    assert len(coco.getAnnIds(imgIds=[1])) == 2
    first, _, third = coco.loadAnns([1, 2, 3])
    assert len(first['keypoints']) == 51 and len(first['keypoints_3d']) == 68 and first['camera']['width'] == 1000
    assert 'keypoints_3d' not in third and 'camera' not in third and 'reprojection_error' not in third
    assert first['provenance'] == {'source': 'lsp', 'source_record': 'im0', 'seed': 0}


def test_the_file_is_valid_json_line_by_line(tmp_path):
    write_coco(sample_table(5), tmp_path / 'a.json')
    lines = (tmp_path / 'a.json').read_text(encoding='ascii').splitlines()
    assert [json.loads(line.rstrip(','))['id'] for line in lines if line.startswith('{"id": ')][:5] == [1, 2, 3, 4, 5]


def test_info_is_kept(tmp_path):
    table = make_table('coco', dict(licence='CC-BY'), file_name=[], width=[], height=[], keypoints=np.zeros((0, 17, 2)))
    write_coco(table, tmp_path / 'a.json')
    assert info_of(read_coco(tmp_path / 'a.json').schema) == {'licence': 'CC-BY'}


@pytest.mark.parametrize('chunk', [1, 3])
def test_pieces_give_the_file_of_the_whole(tmp_path, chunk):
    table = sample_table(8)
    write_coco(table, tmp_path / 'a.json')
    assert write_coco(iter(table.to_batches(chunk)), tmp_path / 'b.json') == 8
    assert (tmp_path / 'a.json').read_bytes() == (tmp_path / 'b.json').read_bytes()
