# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stereopose_mm.labeling import LabelConfig, generate_labels, verify_labels, write_data_card
from stereopose_mm.labeling.checksums import file_checksum

from .made_sets import write_walkers


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    generate_labels(
        [write_walkers(folder / 'a.json', 120)], folder / 'set', LabelConfig(shard_size=50), workers=1, write_json=True
    )
    return folder / 'set'


@pytest.fixture
def out(whole, tmp_path):
    shutil.copytree(whole, tmp_path / 'set')
    return tmp_path / 'set'


def shard(out, split='train', index=1):
    return sorted(out.glob(f'wild3d-{split}-*'))[index]


def rewrite(out, path, table):
    """Put other rows into a file, and tell so in the manifest: only the rows themselves are wrong then."""
    pq.write_table(table, path, compression='zstd')
    manifest = json.loads((out / 'manifest.json').read_text())
    for note in manifest['shards']:
        if path.name in note['files']:
            note['files'][path.name] = dict(
                rows=len(table), bytes=path.stat().st_size, sha256=file_checksum(path)
            )  # fmt: skip
    (out / 'manifest.json').write_text(json.dumps(manifest))


def test_manifest_tells_all_files_and_no_place_or_time(whole):
    text = (whole / 'manifest.json').read_text()
    manifest = json.loads(text)
    told = {name for note in manifest['shards'] for name in note['files']} | set(manifest['exports'])
    assert told | {'manifest.json'} == {path.name for path in whole.iterdir()}
    assert (
        str(whole.parent) not in text
        and manifest['complete']
        and manifest['sources'] == {'coco': sum(manifest['labels'].values())}
    )
    assert manifest['inputs'][0]['name'] == 'a.json' and len(manifest['inputs'][0]['sha256']) == 64


def test_whole_sets_pass(out):
    assert verify_labels(out) == []


@pytest.mark.parametrize('split', ['train', 'val'])
def test_damage_is_told_by_the_file(out, split):
    path = shard(out, split)
    content = path.read_bytes()
    path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    assert any(f'{path}: its checksum is not that of the manifest' in line for line in verify_labels(out))
    path.write_bytes(content[:-10])
    assert any(f'{path}: has {len(content) - 10} bytes' in line for line in verify_labels(out))
    path.unlink()
    assert verify_labels(out) == [f'{path}: is missing']


def test_strange_files_are_told(out):
    shutil.copy(shard(out), out / 'wild3d-train-00007-of-00008.parquet')
    (out / 'train.json').write_text('{}')
    first, second = sorted(verify_labels(out))
    assert 'train.json: has 2 bytes' in first and 'wild3d-train-00007-of-00008.parquet: is not in the' in second


def test_rows_are_checked_themselves(out):
    path = shard(out)
    table = pq.read_table(path)
    rewrite(out, path, pa.concat_tables([table.slice(1), table.slice(1, 1)]))
    assert any('in the set twice' in line and path.name in line for line in verify_labels(out))
    rewrite(out, path, table.slice(1))
    assert any('rows for 50 people' in line for line in verify_labels(out))
    rewrite(out, path, table.drop_columns('part_doubt'))
    assert any(f'{path}: has other columns' in line for line in verify_labels(out))
    train = table.set_column(table.schema.get_field_index('image_id'), table.schema.field('image_id'), [
        [pq.read_table(shard(out, 'val'))['image_id'][0].as_py()] * len(table)
    ])  # fmt: skip
    rewrite(out, path, train)
    assert any('is in both splits' in line for line in verify_labels(out))


@pytest.mark.parametrize(
    ('change', 'key'),
    [
        (lambda m: m.pop('complete'), 'complete'),
        (lambda m: m.pop('exports'), 'exports'),
        (lambda m: m.update(shards='abc'), 'shards'),
        (lambda m: m['shards'][0].pop('files'), 'shards'),
        (lambda m: m['shards'][0]['files'].update({'../a.parquet': dict(rows=0, bytes=1, sha256='')}), 'shards'),
        (lambda m: next(iter(m['shards'][0]['files'].values())).pop('rows'), 'shards'),
        (lambda m: m['exports'].update({'a.json': 3}), 'exports'),
        (lambda m: m['inputs'][0].pop('sha256'), 'inputs'),
        (lambda m: m['settings'].update(train_share=0.5), 'config_hash'),
    ],
)
def test_a_manifest_that_was_changed_is_refused(out, change, key):
    manifest = json.loads((out / 'manifest.json').read_text())
    change(manifest)
    (out / 'manifest.json').write_text(json.dumps(manifest))
    for use in (verify_labels, write_data_card, lambda out: generate_labels([out.parent / 'a.json'], out)):
        (out.parent / 'a.json').write_text('{}')
        with pytest.raises(ValueError, match=f'manifest.json: {key} is not as it was written'):
            use(out)


def test_counts_are_checked_against_the_shards(out):
    manifest = json.loads((out / 'manifest.json').read_text())
    manifest['rejects']['crowd'] = 5
    manifest['labels']['val'] += 1
    (out / 'manifest.json').write_text(json.dumps(manifest))
    assert [line.split(' is ')[0] for line in verify_labels(out)] == [
        f'{out / "manifest.json"}: labels', f'{out / "manifest.json"}: rejects',
    ]  # fmt: skip


def test_what_killed_runs_left_is_told(out):
    left = out / '.wild3d-train-00000-of-00003.7-0123abcd.tmp.parquet'
    left.write_bytes(b'PAR1')
    assert verify_labels(out) == [f'{left}: is not in the manifest']


def test_unfinished_and_unknown_folders(out, tmp_path):
    manifest = json.loads((out / 'manifest.json').read_text())
    (out / 'manifest.json').write_text(json.dumps(dict(manifest, complete=False)))
    assert 'the set is not finished' in verify_labels(out)[0]
    (out / 'manifest.json').write_text(json.dumps(dict(manifest, version=99)))
    with pytest.raises(ValueError, match="manifest.json: takes a manifest of 'wild3d labels', version 1"):
        verify_labels(out)
    (out / 'manifest.json').write_text('{')
    with pytest.raises(ValueError, match='no readable manifest'):
        verify_labels(out)
    with pytest.raises(ValueError, match='has no manifest.json'):
        verify_labels(tmp_path)
