# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stereopose_mm.labeling.annotation_files import read_annotations
from stereopose_mm.labeling.splits import image_ids, in_training_split, record_ids

from .made_sets import write_walkers

NAMES = np.array([f'train/{number:012d}.jpg' for number in range(20_000)])
# Sets that were published keep their splits: these may never change.
FIRST_TWELVE = [bool(int(digit)) for digit in '101001101111']


@pytest.mark.parametrize('share', [0.0, 0.2, 0.8, 1.0])
def test_share_of_images_is_as_asked(share):
    assert in_training_split(NAMES, share).mean() == pytest.approx(share, abs=0.01)


@given(st.floats(0, 1), st.floats(0, 1), st.lists(st.text(), min_size=1))
def test_a_greater_share_puts_no_image_out(first, second, names):
    low, high = sorted((first, second))
    assert not (in_training_split(names, low) & ~in_training_split(names, high)).any()


@given(st.lists(st.text(), min_size=1), st.lists(st.text()))
def test_additions_move_no_image(names, more):
    alone = in_training_split(names, 0.8)
    np.testing.assert_array_equal(in_training_split([*more, *names], 0.8)[len(more) :], alone)


def test_split_is_the_same_for_ever():
    assert in_training_split(NAMES[:12], 0.8).tolist() == FIRST_TWELVE


def test_ids_are_unique_and_depend_on_the_record_alone(tmp_path):
    people = next(iter(read_annotations(write_walkers(tmp_path / 'a.json', 100))))
    ids = record_ids(people)
    assert len(np.unique(ids)) == 100 and (ids >= 0).all() and ids.dtype == np.int64
    np.testing.assert_array_equal(record_ids(people.select(slice(40, 60))), ids[40:60])
    other = next(iter(read_annotations(write_walkers(tmp_path / 'b.json', 100, folder='other/'))))
    assert not np.isin(record_ids(other), ids).any()


def test_people_of_an_image_share_its_id():
    names, sizes = np.array(['a.jpg', 'b.jpg', 'a.jpg', 'a.jpg']), np.array([[640, 480]] * 3 + [[480, 640]])
    first, other, again, turned = image_ids(names, sizes)
    assert first == again and len({first, other, turned}) == 3
