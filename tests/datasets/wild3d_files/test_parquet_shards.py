# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stereopose_mm.datasets.wild3d_files import (
    ShardWriter,
    find_shards,
    iter_parquet,
    read_origin,
    read_parquet,
    shard_rows,
    write_parquet,
)
from stereopose_mm.datasets.wild3d_files.parquet_shards import ROW_GROUP

from ..wild3d_samples import sample_table


def test_shards_have_the_names_of_their_set(tmp_path):
    table = sample_table(10)
    paths = write_parquet(table, tmp_path / 'new', 'val', 3)
    assert [path.name for path in paths] == [f'wild3d-val-{i:05d}-of-00003.parquet' for i in range(3)]
    assert [pq.ParquetFile(path).metadata.num_rows for path in paths] == [4, 3, 3]
    group = pq.ParquetFile(paths[0]).metadata.row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {'ZSTD'}
    assert sorted(p.name for p in (tmp_path / 'new').iterdir()) == [path.name for path in paths]
    for source in (tmp_path / 'new', str(tmp_path / 'new/wild3d-val-*'), paths, [str(p) for p in paths]):
        assert read_parquet(source).equals(table)
    assert read_parquet(paths[1]).equals(table.slice(4, 3))


@given(st.integers(1, 1000), st.integers(1, 50))
def test_rows_are_shared_out_evenly(rows, shards):
    parts = shard_rows(rows, shards)
    sizes = [part.stop - part.start for part in parts]
    assert len(parts) == shards and sum(sizes) == rows and max(sizes) - min(sizes) <= 1
    assert [part.start for part in parts] == [0, *np.cumsum(sizes)[:-1]]


def test_writer_streams_and_reader_gives_row_groups(tmp_path):
    piece = sample_table(500)
    path = tmp_path / 'wild3d-train-00000-of-00001.parquet'
    times = ROW_GROUP // 500 + 1
    with ShardWriter(path, 'h36m', origin='abc') as writer:
        writer.write(pa.concat_tables([piece] * times))
        writer.write(piece)
    assert read_origin(path) == ('abc', 500 * (times + 1))
    batches = list(iter_parquet([path], ['id', 'keypoints']))
    assert max(len(batch) for batch in batches) <= ROW_GROUP and len(batches) >= 2
    assert batches[0].schema.names == ['id', 'keypoints']
    assert sum(len(batch) for batch in batches) == 500 * (times + 1)


def test_a_failed_shard_leaves_nothing(tmp_path):
    table = sample_table(4)
    bad = table.set_column(
        table.schema.get_field_index('label_quality'),
        table.schema.field('label_quality'),
        pa.array([1, 1, 3, 1], pa.float32()),
    )
    path = tmp_path / 'wild3d-train-00000-of-00001.parquet'
    with pytest.raises(ValueError, match=r'label_quality of record 6 is 3\.0'), ShardWriter(path, 'h36m') as writer:
        writer.write(table)
        writer.write(bad)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match='takes the columns of wild3d_schema'), ShardWriter(path, 'h36m') as writer:
        writer.write(table.select(['id']))
    assert not list(tmp_path.iterdir())


def test_a_folder_has_to_be_whole(tmp_path):
    paths = write_parquet(sample_table(9), tmp_path, 'train', 3)
    paths[1].unlink()
    with pytest.raises(ValueError, match=r'wild3d-train-00001-of-00003\.parquet is missing'):
        find_shards(tmp_path)
    assert find_shards(str(tmp_path / '*.parquet')) == [paths[0], paths[2]]
    write_parquet(sample_table(4), tmp_path, 'train', 2)
    with pytest.raises(ValueError, match=r'shards of sets of 2 and 3; takes one set'):
        find_shards(tmp_path)


def test_splits_are_told_apart(tmp_path):
    write_parquet(sample_table(4), tmp_path, 'train')
    write_parquet(sample_table(2), tmp_path, 'val')
    assert len(read_parquet(tmp_path, 'val')) == 2
    with pytest.raises(ValueError, match=r"has the splits \['train', 'val'\]; name one"):
        read_parquet(tmp_path)
    with pytest.raises(ValueError, match=r"no shards of split 'test'"):
        read_parquet(tmp_path, 'test')
    with pytest.raises(ValueError, match='no such file or folder'):
        read_parquet(tmp_path / 'none')
    with pytest.raises(ValueError, match='takes at least one file'):
        read_parquet([])


@pytest.mark.parametrize('keep', [0, 3, 100, 0.5, 0.99])
def test_truncated_shards_are_named(tmp_path, keep):
    (path,) = write_parquet(sample_table(50), tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match=r'00000-of-00001\.parquet: no readable Parquet'):
        read_parquet(tmp_path)


def test_flipped_bytes_are_named(tmp_path):
    (path,) = write_parquet(sample_table(50), tmp_path)
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(8).data_page_offset
    data[start : start + 64] = b'\xff' * 64
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r'00000-of-00001\.parquet: no readable Parquet'):
        read_parquet(tmp_path)


def rewrite(path, change):
    pq.write_table(change(pq.read_table(path)), path)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda t: t.drop_columns(['keypoints_3d']), 'column keypoints_3d is missing'),
        (lambda t: t.set_column(5, 'bbox', pa.array([1.0] * len(t))), r'column bbox is double; takes fixed_size_list'),
        (lambda t: t.replace_schema_metadata({}), 'takes a Wild-3D set of schema version 1, has no wild3d.version'),
        (lambda t: t.replace_schema_metadata({'wild3d.version': '2'}), "has version '2'"),
        (
            lambda t: t.replace_schema_metadata({'wild3d.version': '1', 'wild3d.skeleton': 'cat'}),
            "wild3d.skeleton: unknown skeleton 'cat'",
        ),
        (lambda t: t.set_column(3, 'width', pa.array([1, None, 1], pa.int32())), 'width of record 1 is None'),
        (
            lambda t: t.set_column(14, 'label_quality', pa.array([1, 1, np.nan], pa.float32())),
            'label_quality of record 2 is nan; takes finite numbers',
        ),
    ],
)
def test_other_columns_and_bad_values_are_named(tmp_path, change, message):
    (path,) = write_parquet(sample_table(3), tmp_path)
    rewrite(path, change)
    with pytest.raises(ValueError, match=rf'00000-of-00001\.parquet: .*{message}'):
        read_parquet(tmp_path)


def test_further_columns_are_allowed_and_their_order_free(tmp_path):
    (path,) = write_parquet(sample_table(3), tmp_path)
    rewrite(path, lambda t: t.append_column('x_mine', pa.array([1, 2, 3])).select(['x_mine', *t.schema.names[::-1]]))
    assert read_parquet(tmp_path).equals(sample_table(3))


def test_shards_are_of_one_keypoint_set(tmp_path):
    paths = write_parquet(sample_table(4), tmp_path, 'train', 2)
    rewrite(paths[1], lambda t: t.replace_schema_metadata({'wild3d.version': '1', 'wild3d.skeleton': 'coco'}))
    with pytest.raises(
        ValueError, match=r'00001-of-00002\.parquet: has keypoints of coco; the shards before it of h36m'
    ):
        read_parquet(tmp_path)
