# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of what the engines promise: the same bytes from any of them, whoever is killed and whenever."""

import multiprocessing
import os
import random
import signal
import threading
import time

import pytest

from stereopose_mm.labeling import LabelConfig, generate_labels, verify_labels

from .made_sets import checksums, write_walkers

CONFIG = LabelConfig(shard_size=10)
PEOPLE = 400


@pytest.fixture(scope='module')
def annotations(tmp_path_factory):
    return [write_walkers(tmp_path_factory.mktemp('engines') / 'walkers.json', PEOPLE)]


@pytest.fixture(scope='module')
def expected(annotations, tmp_path_factory):
    """Checksums of the set that one worker makes without a break."""
    out = tmp_path_factory.mktemp('expected') / 'set'
    generate_labels(annotations, out, CONFIG, workers=1)
    assert verify_labels(out) == []
    return checksums(out)


def notes(out):
    return len(list(out.glob('.done/shard-*.json')))


def wait_until(condition, process):
    while not condition():
        assert process.is_alive(), 'it ended before it could be killed'
        time.sleep(0.002)


def begin(annotations, out):
    """A process that makes the set; forked, so that nothing has to be loaded again."""
    process = multiprocessing.get_context('fork').Process(
        target=generate_labels, args=(annotations, out, CONFIG), kwargs=dict(workers=2)
    )
    process.start()
    return process


def test_killed_at_any_moment_it_goes_on(annotations, expected, tmp_path):
    out = tmp_path / 'set'
    moments = random.Random()
    # While records are read, and with more and more shards done; each time up to a shard's time later.
    for done in (None, 2, 8, 15, 25):
        process = begin(annotations, out)
        wait_until((out / '.records').exists if done is None else lambda n=done: notes(out) >= n, process)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert 'the set is not finished' in verify_labels(out)[0]
    summary = generate_labels(annotations, out, CONFIG, workers=2)
    assert summary.resumed >= 25 and summary.shards == 40
    assert checksums(out) == expected and verify_labels(out) == []


def test_workers_end_with_a_killed_parent(annotations, tmp_path):
    out = tmp_path / 'set'
    process = begin(annotations, out)
    wait_until(lambda: notes(out) >= 1, process)
    workers = children(process.pid)
    assert len(workers) == 2
    process.kill()
    process.join()
    end = time.monotonic() + 60
    while any(os.path.exists(f'/proc/{pid}') and state(pid) != 'Z' for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_worker_is_told_and_nothing_is_lost(annotations, expected, tmp_path):
    out = tmp_path / 'set'
    pids = []

    def kill_one():
        while not pids:
            if notes(out) >= 3 and (found := children(os.getpid())):
                pids.append(found[-1])
                os.kill(found[-1], signal.SIGKILL)
            time.sleep(0.002)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    with pytest.raises(ValueError, match='a worker was killed, .*give the command again'):
        generate_labels(annotations, out, CONFIG, workers=2)
    killer.join()
    assert generate_labels(annotations, out, CONFIG, workers=2).resumed >= 3
    assert checksums(out) == expected


def test_two_runs_do_not_write_to_one_folder(annotations, tmp_path, monkeypatch):
    out = tmp_path / 'set'
    monkeypatch.setattr('stereopose_mm.labeling.generate._LOCK_PATIENCE', 0.3)
    process = begin(annotations, out)
    wait_until(lambda: notes(out) >= 1, process)
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(ValueError, match='another run writes to it'):
        generate_labels(annotations, out, CONFIG)
    process.kill()
    process.join()


def test_ray_is_asked_for_before_anything_is_written(annotations, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'ray', None)
    with pytest.raises(ValueError, match=r"pip install 'stereopose_mm\[ray\]'"):
        generate_labels(annotations, tmp_path / 'set', CONFIG, engine='ray')
    assert not (tmp_path / 'set').exists()


def test_ray_makes_the_same_set_though_a_worker_is_killed(annotations, expected, tmp_path, monkeypatch):
    pytest.importorskip('ray.data')
    # Of a cluster that is not asked for.
    monkeypatch.setenv('RAY_ADDRESS', '127.0.0.1:1')
    out = tmp_path / 'set'
    killed = []

    def kill_one():
        while not killed:
            if notes(out) >= 5 and (found := actors()):
                os.kill(found[0], signal.SIGKILL)
                killed.append(found[0])
            time.sleep(0.005)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    summary = generate_labels(annotations, out, CONFIG, engine='ray', workers=2)
    assert killed and summary.resumed == 0
    assert checksums(out) == expected and verify_labels(out) == []


def state(pid):
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0]
    except OSError:
        return 'Z'


def children(parent):
    """Process ids of the children of a process."""
    found = []
    for entry in os.scandir('/proc'):
        if entry.name.isdecimal():
            try:
                with open(f'/proc/{entry.name}/stat') as file:
                    if int(file.read().rsplit(')', 1)[1].split()[1]) == parent:
                        found.append(int(entry.name))
            except OSError:
                continue
    return sorted(found)


def actors():
    """Process ids of the actors of this process's Ray that label."""
    found = []
    session = os.getsid(0)
    for entry in os.scandir('/proc'):
        if entry.name.isdecimal():
            try:
                with open(f'/proc/{entry.name}/cmdline', 'rb') as file:
                    line = file.read()
                if b'ray::' in line and b'ShardActor' in line and os.getsid(int(entry.name)) in (session, os.getpid()):
                    found.append(int(entry.name))
            except OSError:
                continue
    return sorted(found)
