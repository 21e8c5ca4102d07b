# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import io
import tarfile
import zipfile

import pytest

from stereopose_mm.datasets.mocap_files import MotionFileError, archive
from stereopose_mm.datasets.mocap_files.archive import (
    find_skeleton,
    find_sources,
    motion_kind,
    read_motions,
)

FILES = {
    'db/01/01_02.amc': b'frames',
    'db/01/01.asf': b'bones',
    'db/dm/humanoid3d_walk.txt': b'{}',
    'db/dm/humanoid3d.txt': b'{"Skeleton": 1}',
    'db/a.BVH': b'HIERARCHY',
    'db/readme.txt': b'not this',
}
MOTIONS = {'db/01/01_02.amc', 'db/dm/humanoid3d_walk.txt', 'db/a.BVH'}


def write_tar(path, files=None, mode='w:xz'):
    with tarfile.open(path, mode) as tar:
        for name, data in (files or FILES).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_zip(path):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive_file:
        for name, data in FILES.items():
            archive_file.writestr(name, data)


def write_folder(path):
    for name, data in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


@pytest.mark.parametrize(
    'name, write',
    [
        ('m.tar.xz', write_tar),
        ('m.tgz', lambda p: write_tar(p, mode='w:gz')),
        ('m.tar', lambda p: write_tar(p, mode='w')),
        ('m.zip', write_zip),
        ('folder', write_folder),
    ],
)
def test_every_kind_of_source_gives_the_same_files(tmp_path, name, write):
    write(tmp_path / name)
    (source,) = find_sources([tmp_path / name])
    assert set(source.motions) == MOTIONS and not source.errors
    assert {n: read() for n, read in read_motions(source)} == {n: FILES[n] for n in MOTIONS}
    assert find_skeleton(source, 'db/01/01_02.amc') == 'db/01/01.asf'
    assert find_skeleton(source, 'db/dm/humanoid3d_walk.txt') == 'db/dm/humanoid3d.txt'


def test_archives_in_a_folder_are_found(tmp_path):
    write_tar(tmp_path / 'm.tar.xz')
    write_folder(tmp_path / 'plain')
    folder, packed = find_sources([tmp_path])
    assert len(folder.motions) == len(packed.motions) == 3


def test_single_file_takes_the_skeleton_beside_it(tmp_path):
    write_folder(tmp_path)
    (source,) = find_sources([tmp_path / 'db/01/01_02.amc', tmp_path / 'db/01/01.asf'])
    assert source.motions == ['01_02.amc'] and source.skeletons == {'01.asf': 'bones'}
    assert [name for name, _ in read_motions(source)] == ['01_02.amc']


def test_missing_skeleton_is_named(tmp_path):
    write_tar(tmp_path / 'm.tar.xz', {'x/07_02.amc': b'', 'y/07.asf': b'', 'x/1.asf': b'', 'x/2.asf': b''})
    (source,) = find_sources([tmp_path / 'm.tar.xz'])
    with pytest.raises(MotionFileError, match='07.asf is not beside it'):
        find_skeleton(source, 'x/07_02.amc')


def test_links_in_a_tar_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / 'm.tar', 'w') as tar:
        link = tarfile.TarInfo('01_01.bvh')
        link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
        tar.addfile(link)
    (source,) = find_sources([tmp_path / 'm.tar'])
    assert source.motions == []


def test_oversized_member_is_refused_unread(tmp_path, monkeypatch):
    write_zip(tmp_path / 'm.zip')
    monkeypatch.setattr(archive, 'MAX_BYTES', 8)
    (source,) = find_sources([tmp_path / 'm.zip'])
    for name, read in read_motions(source):
        if name == 'db/a.BVH':
            with pytest.raises(MotionFileError, match='9 bytes; at most 8'):
                read()
    assert any('humanoid3d.txt' in str(error) for error in source.errors)


@pytest.mark.parametrize('name', ['m.tar.xz', 'm.zip', 'm.tar'])
def test_what_is_no_archive_is_an_error_of_its_source(tmp_path, name):
    (tmp_path / name).write_bytes(b'rubbish' * 100)
    (source,) = find_sources([tmp_path / name])
    assert len(source.errors) == 1 and name in str(source.errors[0])
    assert list(read_motions(source)) == []


def test_truncated_archive_keeps_what_can_be_read(tmp_path):
    files = {f'{i}.bvh': bytes(range(256)) * 40 for i in range(4)}
    write_tar(tmp_path / 'm.tar', files, 'w')
    whole = (tmp_path / 'm.tar').read_bytes()
    (tmp_path / 'm.tar').write_bytes(whole[:25000])
    (source,) = find_sources([tmp_path / 'm.tar'])
    assert len(source.errors) == 1
    read = {}
    for name, get in read_motions(source):
        try:
            read[name] = get()
        except MotionFileError as error:
            assert 'm.tar/2.bvh' in str(error)
    assert read == {name: files[name] for name in ('0.bvh', '1.bvh')}
    assert len(source.errors) == 1


@pytest.mark.parametrize('name', ['nowhere', 'notes.txt'])
def test_unusable_arguments_are_named(tmp_path, name):
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(ValueError, match=name):
        find_sources([tmp_path / name])


def test_motion_kind():
    kinds = {'a/B.BVH': 'bvh', '01_01.amc': 'asfamc', 'd/humanoid3d_roll.txt': 'deepmimic'}
    kinds |= {'humanoid3d.txt': None, 'LICENSE': None, '01.asf': None, 'x.bvh.bak': None}
    assert {name: motion_kind(name) for name in kinds} == kinds
