# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The Wild-3D format: its columns, COCO-format JSON, Parquet shards, and the original release's file."""

from .coco_reader import read_coco
from .coco_writer import write_coco
from .convert import Conversion, convert_wild3d, convert_wild_npy
from .parquet_shards import (
    ShardWriter,
    find_shards,
    iter_parquet,
    read_origin,
    read_parquet,
    shard_name,
    shard_rows,
    write_parquet,
)
from .schema import SCHEMA_VERSION, check_table, column_array, info_of, make_table, skeleton_of, wild3d_schema
from .wild_npy import read_wild_npy

__all__ = [
    'SCHEMA_VERSION',
    'Conversion',
    'ShardWriter',
    'check_table',
    'column_array',
    'convert_wild3d',
    'convert_wild_npy',
    'find_shards',
    'info_of',
    'iter_parquet',
    'make_table',
    'read_coco',
    'read_origin',
    'read_parquet',
    'read_wild_npy',
    'shard_name',
    'shard_rows',
    'skeleton_of',
    'wild3d_schema',
    'write_coco',
    'write_parquet',
]
