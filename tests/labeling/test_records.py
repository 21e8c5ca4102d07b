# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from dataclasses import fields

import numpy as np
import pytest

from stereopose_mm.labeling import Annotations, read_annotations
from stereopose_mm.labeling.records import (
    num_record_shards,
    read_annotation_shard,
    record_name,
    write_annotations,
    write_records,
)

from .made_sets import write_walkers


def same(first: Annotations, second: Annotations) -> bool:
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in fields(Annotations)[1:-2]) and (
        np.array_equal(first.person_score, second.person_score, equal_nan=True)
        and np.array_equal(first.problem, second.problem)
        and first.keypoint_set == second.keypoint_set
    )


def test_people_come_back_as_they_were(tmp_path):
    people = next(iter(read_annotations(write_walkers(tmp_path / 'a.json', 30, folder='ö/日本/'))))
    write_annotations(people, tmp_path / 'people.parquet')
    back = read_annotation_shard(tmp_path / 'people.parquet')
    assert same(people, back)
    assert (
        back.keypoints.dtype == np.float32 and back.visibility.dtype == np.uint8 and back.image_size.dtype == np.int32
    )
    write_annotations(people.select(slice(0)), tmp_path / 'none.parquet')
    assert len(read_annotation_shard(tmp_path / 'none.parquet')) == 0


def test_shards_hold_everyone_in_order_and_one_file_each(tmp_path):
    files = [write_walkers(tmp_path / f'{n}.json', n, folder=f'{n}/') for n in (25, 7)]
    opened = [read_annotations(file, batch_size=10) for file in files]
    told = []
    assert write_records(opened, tmp_path / 'records', told.append) == num_record_shards(tmp_path / 'records') == 4
    assert told == [10, 10, 5, 7]
    shards = [read_annotation_shard(tmp_path / 'records' / record_name(index)) for index in range(4)]
    assert same(Annotations.concatenate(shards), Annotations.concatenate([batch for file in opened for batch in file]))


def test_people_given_twice_are_marked_the_second_time(tmp_path):
    first, second = write_walkers(tmp_path / 'a.json', 12), write_walkers(tmp_path / 'b.json', 6, first=10)
    write_records([read_annotations(file, batch_size=5) for file in (first, second)], tmp_path / 'records')
    people = Annotations.concatenate(
        [read_annotation_shard(tmp_path / 'records' / record_name(index)) for index in range(5)]
    )
    assert people.record.tolist() == [*map(str, range(1, 13)), *map(str, range(10, 16))]
    marked = [problem.startswith('duplicate id: coco 1') for problem in people.problem]
    assert marked == [False] * 12 + [True] * 3 + [False] * 3


def test_folders_that_lack_a_shard_are_not_taken(tmp_path):
    assert num_record_shards(tmp_path) is None
    write_records([read_annotations(write_walkers(tmp_path / 'a.json', 12), batch_size=5)], tmp_path)
    assert num_record_shards(tmp_path) == 3
    (tmp_path / record_name(1)).unlink()
    assert num_record_shards(tmp_path) is None
    (tmp_path / record_name(0)).write_bytes(b'PAR1')
    with pytest.raises(ValueError, match='records-00000.parquet: no readable shard'):
        read_annotation_shard(tmp_path / record_name(0))
