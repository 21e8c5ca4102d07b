# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import re
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import stereopose_mm.labeling.webdataset as webdataset
from stereopose_mm.datasets.wild3d_files import read_coco, read_parquet, write_coco, write_parquet
from stereopose_mm.labeling.webdataset import write_webdataset
from tests.datasets.wild3d_samples import sample_table

# WebDataset's convention: what is before the first dot of the name is the key, what is after it the kind.
_CONVENTION = re.compile(r'^((?:.*/|)[^.]+)[.]([^/]*)$')


@pytest.fixture
def made_set(tmp_path):
    """22 people on 11 images, two on each, the second of which is in another shard; and 4 of val."""
    table = sample_table(22)
    apart = table.take(np.concatenate([np.arange(0, 22, 2), np.arange(1, 22, 2)]))
    write_parquet(apart, tmp_path / 'set', 'train', 3)
    names = [f'v.al/{i}.PNG' for i in range(4)]
    write_parquet(sample_table(4, 1, file_name=names, image_id=[-5, 900, 2**62, 77]), tmp_path / 'set', 'val')
    (tmp_path / 'images/v.al').mkdir(parents=True)
    for i, name in enumerate([*names, *set(table.column('file_name').to_pylist())]):
        kind = 'PNG' if name.endswith('PNG') else 'JPEG'
        Image.new('RGB', (30, 20), (9 * i, 90, 150)).save(tmp_path / 'images' / name, kind)
    return tmp_path / 'set'


def write(made_set, out='tar', shard_size=4):
    return write_webdataset(made_set, made_set.parent / out, made_set.parent / 'images', shard_size)


def read_samples(paths):
    """As WebDataset reads them: files in a row with one key are a sample."""
    samples = []
    for path in paths:
        with tarfile.open(path, 'r|') as tar:  # a stream: no seeking
            for member in tar:
                key, kind = _CONVENTION.match(member.name).groups()
                if not samples or samples[-1]['__key__'] != key:
                    samples.append({'__key__': key})
                assert kind not in samples[-1]
                samples[-1][kind] = tar.extractfile(member).read()
    return samples


def test_samples_hold_images_and_all_their_people(made_set, tmp_path):
    paths = write(made_set)
    counts = ['train-00000-of-00003', 'train-00001-of-00003', 'train-00002-of-00003', 'val-00000-of-00001']
    assert [path.name for path in paths] == [f'wild3d-{name}.tar' for name in counts]
    samples = read_samples(paths)
    assert len(samples) == len({sample['__key__'] for sample in samples}) == 15
    found = []
    for sample in samples:
        label = json.loads(sample['json'])
        image = sample['png' if label['file_name'].endswith('PNG') else 'jpg']
        assert image == (tmp_path / 'images' / label['file_name']).read_bytes()
        assert sample['__key__'] == f'{label["image_id"] % 2**64:016x}' and label['skeleton'] == 'h36m'
        assert {entry['image_id'] for entry in label['annotations']} == {label['image_id']}
        found += label['annotations']
    # The labels are those of the set, to the bit.
    for split, part in (('train', found[:22]), ('val', found[22:])):
        table = read_parquet(made_set, split)
        write_coco(table, tmp_path / 'all.json')
        whole = json.loads((tmp_path / 'all.json').read_text())
        whole['annotations'] = part
        (tmp_path / 'found.json').write_text(json.dumps(whole))
        assert read_coco(tmp_path / 'found.json').sort_by('id').equals(table.sort_by('id'))


def test_tar_shards_are_of_nobody_and_in_order(made_set):
    sizes = []
    for path in write(made_set):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert [member.name for member in members] == sorted(member.name for member in members)
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, '', '', 0o644)}
        assert not any(member.pax_headers for member in members)
        sizes.append(len(members) // 2)
    assert sizes == [4, 4, 3, 4]


def test_same_bytes_again(made_set):
    first = {path.name: path.read_bytes() for path in write(made_set)}
    assert {path.name: path.read_bytes() for path in write(made_set, 'again')} == first


def test_goes_on_where_it_was_cut_short(made_set, monkeypatch):
    whole = {path.name: path.read_bytes() for path in write(made_set, 'whole')}
    made, write_tar = [], webdataset._write_tar

    def cut_short(path, *args):
        if len(made) == 2:
            raise KeyboardInterrupt
        write_tar(path, *args)
        made.append(path.name)

    monkeypatch.setattr(webdataset, '_write_tar', cut_short)
    with pytest.raises(KeyboardInterrupt):
        write(made_set)
    out = made_set.parent / 'tar'
    (out / '.wild3d-train-00002-of-00003.1-0123abcd.tmp.tar').write_bytes(b'killed')
    made.clear()
    paths = write(made_set)
    assert made == ['wild3d-train-00002-of-00003.tar', 'wild3d-val-00000-of-00001.tar']
    assert {path.name: path.read_bytes() for path in paths} == whole
    assert sorted(path.name for path in out.iterdir()) == ['index.json', *sorted(whole)]
    # Of a complete one, what was damaged or lost is made again, and nothing else.
    made.clear()
    paths[0].write_bytes(paths[0].read_bytes()[:-1] + b'!')
    paths[3].unlink()
    write(made_set)
    assert made == [paths[0].name, paths[3].name] and paths[0].read_bytes() == whole[paths[0].name]
    index = json.loads((out / 'index.json').read_text())
    assert index['complete'] and [(told['images'], told['people']) for told in index['shards']] == [
        (4, 8), (4, 8), (3, 6), (4, 4),
    ]  # fmt: skip


def test_folders_of_other_sets_are_left_alone(made_set, tmp_path):
    write(made_set)
    with pytest.raises(ValueError, match='another set'):
        write(made_set, shard_size=5)
    (tmp_path / 'tar/index.json').unlink()
    with pytest.raises(ValueError, match=r'wild3d-train-00000-of-00003\.tar but no index\.json'):
        write(made_set)


def test_bad_input_is_named_before_anything_is_written(made_set, tmp_path):
    (tmp_path / 'images/000004.jpg').unlink()
    with pytest.raises(ValueError, match=r'wild3d-train-00000-of-00003\.parquet: file_name of record 4: .*000004\.jpg'):
        write(made_set)
    with pytest.raises(ValueError, match='shard_size takes'):
        write(made_set, shard_size=0)
    with pytest.raises(ValueError, match='no such folder'):
        write_webdataset(made_set, tmp_path / 'tar', tmp_path / 'none')
    Image.new('RGB', (3, 3)).save(tmp_path / 'images/000004.gif')
    odd = sample_table(1, file_name=['000004.gif'])
    write_parquet(pa.concat_tables([odd]), tmp_path / 'odd')
    with pytest.raises(ValueError, match=r'record 0: .*takes images with a suffix'):
        write_webdataset(tmp_path / 'odd', tmp_path / 'tar', tmp_path / 'images')
    assert not (tmp_path / 'tar').exists()
