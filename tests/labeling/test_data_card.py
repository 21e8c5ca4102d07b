# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stereopose_mm.datasets.wild3d_files import column_array, make_table, read_parquet, write_parquet
from stereopose_mm.geometry import H36M_17
from stereopose_mm.labeling import LabelConfig, generate_labels
from stereopose_mm.labeling.annotation_files.sources import SOURCES
from stereopose_mm.labeling.data_card import write_data_card
from stereopose_mm.labeling.histogram import Histogram
from stereopose_mm.labeling.label_sheet import choose_labels, draw_label_sheets
from stereopose_mm.labeling.manifest import new_manifest, write_manifest
from stereopose_mm.labeling.set_statistics import gather_statistics, label_files, pose_measures
from stereopose_mm.labeling.source_terms import SOURCE_TERMS, UNKNOWN, terms_of
from stereopose_mm.labeling.tables import reject_schema
from tests.datasets.wild3d_samples import STANDING, sample_table

numbers = st.floats(-3, 12, allow_nan=False)


@given(st.lists(numbers, min_size=1, max_size=60), st.integers(1, 5), st.floats(0, 1))
def test_histogram_tells_of_all_numbers(values, parts, share):
    values = np.array(values)
    histogram = Histogram(np.arange(11))
    for part in np.array_split(values, parts):
        histogram.add(np.append(part, np.nan))
    assert (histogram.total, histogram.low, histogram.high) == (len(values), values.min(), values.max())
    assert histogram.mean == pytest.approx(values.mean(), abs=1e-9)
    assert histogram.counts.tolist() == np.histogram(values, np.arange(11))[0].tolist()
    assert (histogram.below, histogram.above) == ((values < 0).sum(), (values > 10).sum())
    # The number that so many are below is in the same bin, or beyond the bins.
    exact = np.sort(values)[max(int(np.ceil(share * len(values) - 1e-9)), 1) - 1]
    if 0 <= exact <= 10 and share > 0:
        assert abs(histogram.quantile(share) - exact) <= 1 + 1e-9
    assert values.min() <= histogram.quantile(share) <= values.max()


def test_histogram_without_numbers():
    histogram = Histogram([0, 1])
    assert np.isnan(histogram.quantile(0.5)) and histogram.summary()['number'] == 0
    with pytest.raises(ValueError, match='rising'):
        Histogram([1, 0])


def pose(change=None):
    joints = STANDING.copy()
    for name, place in (change or {}).items():
        joints[H36M_17.index(name)] = place
    return joints


@pytest.mark.parametrize(
    ('turn', 'facing'), [(0, 0), (40, -40), (-90, 90), (150, -150)], ids=['camera', 'a little', 'right', 'away']
)
def test_where_a_body_faces(turn, facing):
    # A turn about y, which is down: from the camera to the picture's left.
    turned = Rotation.from_euler('y', turn, degrees=True).apply(STANDING)
    measures = pose_measures(np.stack([turned, turned * 1.7 + [1, 2, 5]]))
    np.testing.assert_allclose(measures['facing_deg'], facing, atol=1e-6)
    np.testing.assert_allclose(measures['lean_deg'], 0, atol=1e-6)


def test_lying_bodies_face_nowhere_and_hands_have_heights():
    lying = Rotation.from_euler('x', 90, degrees=True).apply(STANDING)
    upside_down = STANDING * [-1, -1, 1]
    raised = pose({'left_wrist': [0.2, -0.98, 0], 'right_wrist': [-0.2, 0, 0]})
    measures = pose_measures(np.stack([lying, upside_down, raised, np.full((17, 3), np.nan)]))
    np.testing.assert_allclose(measures['lean_deg'], [90, 180, 0, np.nan], atol=1e-5)
    assert np.isnan(measures['facing_deg'][[0, 3]]).all()
    np.testing.assert_allclose(measures['hand_height'][2], [0, 2], atol=1e-6)
    assert np.isnan(measures['knee_flexion_deg'][3]).all()


def write_rejects(folder, reasons, index=0, count=1, source='lspet'):
    num = len(reasons)
    columns = {f.name: pa.nulls(num, f.type) for f in reject_schema()}
    columns |= dict(source=pa.array([source] * num), reason=pa.array(reasons))
    columns['label_quality'] = pa.array([0.05] * (num - 1) + [None], pa.float32())
    fields = [f.with_nullable(True) for f in reject_schema()]
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
    pq.write_table(table, folder / f'rejects-{index:05d}-of-{count:05d}.parquet')


@pytest.fixture
def made_set(tmp_path):
    """A set of two splits, in shards, with people of 2D only, and rejects."""
    folder = tmp_path / 'made'
    write_parquet(sample_table(36, 0), folder, 'train', 3)
    write_parquet(sample_table(12, 1), folder, 'val')
    write_rejects(folder, ['quality below 0.1'] * 3 + ['no root'], 0, 2)
    write_rejects(folder, ['no root'], 1, 2, 'mpii')
    return folder


def test_card_counts_what_is_there_and_is_the_same_again(made_set):
    page = write_data_card(made_set, name='mine', examples=2)
    before = {path.name: path.read_bytes() for path in made_set.rglob('*') if path.is_file()}
    assert page.read_text().startswith('# mine\n')
    write_data_card(made_set, name='mine', examples=2)
    assert {path.name: path.read_bytes() for path in made_set.rglob('*') if path.is_file()} == before
    told = json.loads((made_set / 'data_card.json').read_text())
    assert told['labels'] == dict(train=36, val=12) and told['images'] == dict(train=18, val=6)
    assert told['people'] == 53 and told['rejects'] == {'quality below 0.1': 3, 'no root': 2}
    assert {name: source['labels'] for name, source in told['sources'].items()} == dict(
        lsp=dict(train=18, val=6), mpii=dict(train=18, val=6), lspet=dict(train=0, val=0)
    )
    assert told['sources']['lspet']['rejects'] == {'quality below 0.1': 3, 'no root': 1}
    assert told['rejected_quality']['number'] == 3
    quality = np.concatenate([column_array(read_parquet(made_set, s), 'label_quality') for s in ('train', 'val')])
    assert told['measures']['quality']['mean'] == pytest.approx(quality.mean(), abs=1e-6)
    assert told['measures']['quality']['q50'] == pytest.approx(np.median(quality), abs=0.02)
    # A third has neither camera nor pose.
    assert told['measures']['field_of_view_deg']['number'] == told['measures']['root_depth_m']['number'] == 32
    assert told['measures']['expected_error_mm'] == told['measures']['expected_error_mm'] | dict(number=0)
    text = page.read_text()
    assert (
        '| `mpii` | 18 | 6 | 1 |' in text and '| no root | 2 | 3.8% |' in text and terms_of('mpii').annotations in text
    )
    for word in text.split('](')[1:]:
        name = word.split(')')[0]
        assert name.startswith('http') or (made_set / name).is_file()
    for name in ('poses', 'cameras', 'quality', 'best', 'median', 'worst'):
        assert cv2.imread(str(made_set / f'data_card/{name}.png')).std() > 5


def test_sheets_show_the_extremes_of_those_with_3d(made_set):
    paths = [path for split in label_files(made_set).values() for path in split]
    chosen = choose_labels(paths, 0.6, 4)
    tables = [read_parquet([path]) for path in paths]
    labelled = np.concatenate([column_array(t, 'camera')[:, 0] > 0 for t in tables])
    quality = np.concatenate([column_array(t, 'label_quality') for t in tables])[labelled]
    found = {n: [tables[s]['label_quality'][r].as_py() for s, r in places.tolist()] for n, places in chosen.items()}
    np.testing.assert_allclose(found['worst'], np.sort(quality)[:4])
    np.testing.assert_allclose(found['best'], np.sort(quality)[::-1][:4])
    np.testing.assert_allclose(np.abs(np.array(found['median']) - 0.6), np.sort(np.abs(quality - 0.6))[:4], atol=1e-6)


def test_memory_is_bounded_by_a_batch(made_set):
    whole = gather_statistics(made_set)
    table = pa.concat_tables([read_parquet(made_set, 'train'), read_parquet(made_set, 'val')])
    for path in made_set.glob('wild3d-*'):
        path.unlink()
    for shard in range(8):
        rows = table.slice(6 * shard, 6)
        pq.write_table(rows, made_set / f'wild3d-train-{shard:05d}-of-00008.parquet', row_group_size=2)
    parts = gather_statistics(made_set)
    assert parts.labels['train'] == 48 and (parts.density == whole.density).all() and whole.density.sum() > 500
    for name, histogram in whole.measures.items():
        assert (histogram.counts == parts.measures[name].counts).all()


def test_what_is_wrong_is_named(made_set, tmp_path):
    with pytest.raises(ValueError, match='nothing'):
        write_data_card(tmp_path / 'nothing')
    with pytest.raises(ValueError, match='no such folder'):
        write_data_card(made_set, tmp_path / 'no_images')
    write_manifest(made_set, new_manifest(LabelConfig(), [], False))
    with pytest.raises(ValueError, match='not finished'):
        write_data_card(made_set)
    (made_set / 'manifest.json').unlink()
    (made_set / 'rejects-00000-of-00002.parquet').write_bytes(b'PAR1')
    with pytest.raises(ValueError, match='rejects-00000-of-00002'):
        write_data_card(made_set)
    (made_set / 'wild3d-train-00001-of-00003.parquet').unlink()
    with pytest.raises(ValueError, match='00001-of-00003'):
        write_data_card(made_set)
    assert not (made_set / 'README.md').exists() and not (made_set / 'data_card').exists()
    coco = make_table('coco', file_name=['a.jpg'], width=[9], height=[9], keypoints=np.zeros((1, 17, 2)))
    write_parquet(coco, tmp_path / 'coco')
    with pytest.raises(ValueError, match="'coco' keypoints"):
        write_data_card(tmp_path / 'coco')


def test_set_without_3d_has_a_card_without_sheets(tmp_path):
    flat = make_table('h36m', file_name=['a.jpg'], width=[99], height=[99], keypoints=np.ones((1, 17, 2)))
    write_parquet(flat, tmp_path)
    text = write_data_card(tmp_path).read_text()
    assert 'No label has a camera' in text and 'best' not in text and '| `not told` |' in text


def test_terms_are_told_of_every_source():
    assert not {*SOURCES, 'humanart_virtual', 'mpii_lsp'} - set(SOURCE_TERMS)
    assert terms_of('mine').annotations == UNKNOWN


def test_generated_set_with_its_pictures(shared_data, tmp_path):
    coco = shared_data / 'real/coco'
    generate_labels([coco / 'person_keypoints.json'], tmp_path, images=coco, workers=1)
    text = write_data_card(tmp_path, coco).read_text()
    manifest = json.loads((tmp_path / 'manifest.json').read_text())
    assert manifest['config_hash'] in text and '55° horizontal' in text and '`person_keypoints.json`' in text
    told = json.loads((tmp_path / 'data_card.json').read_text())
    assert told['labels'] == manifest['labels'] and told['measures']['expected_error_mm']['number'] == sum(
        manifest['labels'].values()
    )
    with_pictures = cv2.imread(str(tmp_path / 'data_card/best.png'))
    without = draw_label_sheets(sorted(tmp_path.glob('wild3d-*')), 0.5, number=12)['best']
    assert with_pictures.shape == without.shape and with_pictures.mean() > 1.5 * without.mean()
