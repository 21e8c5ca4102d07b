# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of the tracker."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stereopose_mm.apis.people import People2D
from stereopose_mm.apis.tracking import PersonTracker

from ..made_sequence import make_sequence


def clip_of(num_people=3, num_frames=20, seed=0, missed=0.0, shuffle=True):
    """People of each frame in any order, and who they are."""
    clip, rng = make_sequence(num_people, num_frames), np.random.default_rng(seed)
    frames, truth = [], []
    for f in range(num_frames):
        rows = np.arange(num_people) + f * num_people
        rows = rows[rng.random(num_people) >= missed]
        rows = rng.permutation(rows) if shuffle else rows
        frames.append(
            People2D(clip.keypoints_2d[rows], clip.scores_2d[rows], clip.bboxes[rows], clip.bbox_scores[rows])
        )
        truth.append(clip.track[rows])
    return frames, truth


def person(x, y=300.0, size=200.0, score=0.9):
    """One person whose keypoints fill a box around (x, y)."""
    grid = np.stack([np.linspace(-0.2, 0.2, 17), np.linspace(-0.5, 0.5, 17)], -1) * size + [x, y]
    return People2D.from_keypoints(grid[None], np.full((1, 17), score), [score])


def together(*people):
    return People2D(*(np.concatenate([getattr(p, n) for p in people]) for n in ('keypoints', 'scores', 'bboxes')),
                    np.concatenate([p.bbox_scores for p in people]))  # fmt: skip


def track_all(tracker, frames):
    return [tracker.update(people) for people in frames]


@settings(max_examples=10)
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_one_number_for_each_person_in_any_order(num_people, seed):
    frames, truth = clip_of(num_people, seed=seed)
    found, who = np.concatenate(track_all(PersonTracker(), frames)), np.concatenate(truth)
    pairs = set(zip(who.tolist(), found.tolist(), strict=True))
    assert len(pairs) == num_people and {number for _, number in pairs} == set(range(num_people))
    assert found.dtype == np.int64


@settings(max_examples=10)
@given(st.integers(0, 2**31), st.integers(0, 20))
def test_a_stored_state_goes_on_with_the_same_numbers(seed, stop):
    frames, _ = clip_of(4, seed=seed, missed=0.2)
    whole = track_all(PersonTracker(), frames)
    first, second = PersonTracker(), PersonTracker()
    track_all(first, frames[:stop])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for expected, found in zip(whole[stop:], track_all(second, frames[stop:]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert second.state_dict() == track_state(frames)


def track_state(frames):
    tracker = PersonTracker()
    track_all(tracker, frames)
    return tracker.state_dict()


def test_people_who_cross_keep_their_numbers():
    tracker = PersonTracker()
    for step in range(60):
        left, right = person(200 + 10 * step), person(790 - 10 * step, 310.0)
        # The further one cannot be seen while they cover each other.
        crossing = 24 <= step <= 35
        numbers = tracker.update(left if crossing else together(left, right))
        assert numbers.tolist() == ([0] if crossing else [0, 1])


def test_who_is_gone_for_too_long_is_new():
    for gap, expected in ((29, 0), (31, 1)):
        tracker = PersonTracker(memory=30)
        tracker.update(person(400))
        for _ in range(gap):
            assert tracker.update(People2D.none()).shape == (0,)
        assert tracker.update(person(400)).tolist() == [expected]


def test_memory_counts_frames_of_the_video():
    for gap, expected in ((5, 0), (7, 1)):
        tracker = PersonTracker(memory=30, every=5)
        tracker.update(person(400))
        for _ in range(gap):
            tracker.update(People2D.none())
        assert tracker.update(person(400)).tolist() == [expected]


def test_large_steps_are_followed_at_their_velocity():
    tracker = PersonTracker(every=5)
    # A body's width every step.
    found = [tracker.update(person(100 + 60 * step)).item() for step in range(15)]
    assert found == [0] * 15


def test_certain_people_choose_first():
    tracker = PersonTracker()
    tracker.update(person(400))
    ghost, real = person(402, score=0.3), person(412, score=0.9)
    assert tracker.update(together(ghost, real)).tolist() == [1, 0]


def test_half_hidden_people_take_what_is_left():
    tracker = PersonTracker()
    tracker.update(together(person(300), person(600)))
    assert tracker.update(together(person(605, score=0.2), person(304))).tolist() == [1, 0]


def test_somebody_elsewhere_is_somebody_else():
    tracker = PersonTracker()
    assert tracker.update(person(200)).tolist() == [0]
    assert tracker.update(person(900)).tolist() == [1]
    assert tracker.update(person(200, size=40)).tolist() == [2]


def test_missing_keypoints_do_not_pull():
    tracker = PersonTracker()
    for step in range(10):
        people = person(300 + 8 * step)
        keypoints, scores = people.keypoints.copy(), people.scores.copy()
        keypoints[:, step % 3 :: 3], scores[:, step % 3 :: 3] = 0, 0
        assert tracker.update(People2D(keypoints, scores, people.bboxes, people.bbox_scores)).tolist() == [0]
    keypoints = np.array(tracker.state_dict()['keypoints'])
    np.testing.assert_allclose(keypoints, people.keypoints, atol=10)


def test_forty_people():
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(10) * 120.0, np.arange(4) * 170.0), -1).reshape(-1, 2)
    tracker = PersonTracker(memory=5)
    for frame_number in range(5):
        order = rng.permutation(40)
        frame = together(*(person(*(place + rng.normal(0, 2, 2)), 150.0) for place in places[order]))
        numbers = np.empty(40, int)
        numbers[order] = tracker.update(frame)
        if frame_number == 0:
            first = numbers
        np.testing.assert_array_equal(numbers, first)
    assert sorted(first) == list(range(40))


def test_memory_does_not_grow_with_people_who_left():
    tracker = PersonTracker(memory=5)
    for step in range(100):
        assert tracker.update(person(1000 * step)).tolist() == [step]
    assert len(tracker.state_dict()['numbers']) < 10


def test_numbers_of_the_source_are_kept():
    tracker = PersonTracker()
    people = together(person(200), person(600))
    frames = [[70, 5], [5, 70], [70, 11], [5, 11]]
    found = [
        tracker.update(People2D(people.keypoints, people.scores, people.bboxes, people.bbox_scores, np.array(t)))
        for t in frames
    ]
    assert [numbers.tolist() for numbers in found] == [[0, 1], [1, 0], [0, 2], [1, 2]]
    again = PersonTracker()
    again.load_state_dict(json.loads(json.dumps(tracker.state_dict())))
    assert again.update(People2D.none()).shape == (0,)
    # Numbers of its own go on after those.
    assert again.update(person(200)).tolist() == [3]


def test_bad_arguments_and_states_are_named():
    with pytest.raises(ValueError, match='every'):
        PersonTracker(every=0)
    with pytest.raises(ValueError, match='min_similarity'):
        PersonTracker(min_similarity=0)
    tracker = PersonTracker()
    tracker.update(person(200))
    state = tracker.state_dict()
    for change, message in (
        ({'boxes': [[1, 2]]}, 'no state of the tracker'),
        ({'next': 0}, 'next is 0, but that number is taken'),
        ({'numbers': None}, 'no state of the tracker'),
    ):
        with pytest.raises(ValueError, match=message):
            tracker.load_state_dict({**state, **change})
    with pytest.raises(ValueError, match='has no velocity'):
        tracker.load_state_dict({k: v for k, v in state.items() if k != 'velocity'})
    assert tracker.state_dict() == state


def test_a_number_given_twice_on_a_frame_is_two_people():
    """Else smoothing and export, which take one pose of a person a frame, would fail."""
    people = together(person(200), person(600), person(900))

    def frame(tracks):
        return People2D(people.keypoints, people.scores, people.bboxes, people.bbox_scores, np.array(tracks))

    tracker = PersonTracker()
    assert tracker.update(frame([5, 5, 8])).tolist() == [0, 1, 2]
    again = PersonTracker()
    again.load_state_dict(json.loads(json.dumps(tracker.state_dict())))
    assert again.update(frame([8, 5, 5])).tolist() == [2, 0, 1]
