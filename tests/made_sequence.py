# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Clips of walking people with exact 2D, for tests of what draws, exports and smooths clips."""

import numpy as np
import torch

from stereopose_mm.geometry import Camera, PoseSequence

# Lengths in metres; the figure faces +z of its own frame, x to its left, y up.
_THIGH, _SHIN, _UPPER_ARM, _FOREARM = 0.44, 0.45, 0.28, 0.25


def walking_pose(phase: np.ndarray) -> np.ndarray:
    """``(F, 17, 3)`` metres of a figure walking on the spot, feet at y = 0 at the lowest; bones never change length."""

    def limb(root, upper, lower, swing, bend, side=0.0):
        """Two bones hanging from ``root``; angles in radians, swing forward, bend about the same axis."""
        first = np.stack([np.sin(side) + 0 * swing, -np.cos(swing), np.sin(swing)], -1)
        first /= np.linalg.norm(first, axis=-1, keepdims=True)
        second = np.stack([np.sin(side) + 0 * swing, -np.cos(swing + bend), np.sin(swing + bend)], -1)
        second /= np.linalg.norm(second, axis=-1, keepdims=True)
        middle = root + upper * first
        return middle, middle + lower * second

    count = len(phase)
    joints = np.zeros((count, 17, 3))
    swing = 0.5 * np.sin(phase)
    bend = -0.5 * (1 + np.cos(phase)) * 0.6
    joints[:, 1], joints[:, 4] = [-0.13, 0, 0], [0.13, 0, 0]
    joints[:, 2], joints[:, 3] = limb(joints[:, 1], _THIGH, _SHIN, swing, bend)
    joints[:, 5], joints[:, 6] = limb(joints[:, 4], _THIGH, _SHIN, -swing, -0.5 * (1 - np.cos(phase)) * 0.6)
    joints[:, 7], joints[:, 8] = [0, 0.23, 0], [0, 0.49, 0]
    joints[:, 9], joints[:, 10] = [0, 0.60, 0.06], [0, 0.71, 0.03]
    joints[:, 11], joints[:, 14] = [0.16, 0.47, 0], [-0.16, 0.47, 0]
    joints[:, 12], joints[:, 13] = limb(joints[:, 11], _UPPER_ARM, _FOREARM, swing, 0.4 + 0 * swing, 0.12)
    joints[:, 15], joints[:, 16] = limb(joints[:, 14], _UPPER_ARM, _FOREARM, -swing, 0.4 + 0 * swing, -0.12)
    joints[..., 1] -= joints[:, [3, 6], 1].min(1)[:, None]
    return joints


def make_sequence(
    num_people: int = 2, num_frames: int = 40, noise: float = 0.0, seed: int = 0, frame_rate: float = 25.0
) -> PoseSequence:
    """People walking side by side past a level camera 1.5 m above the ground, with H36M-17 keypoints.

    Args:
        num_people: T.
        num_frames: F.
        noise: Standard deviation of errors of the 3D joints, metres; the 2D stays exact.
        seed: Of the noise.
        frame_rate: Frames a second.
    """
    camera = Camera.from_fov(60.0, 1280, 720)
    time = np.arange(num_frames) / frame_rate
    people = []
    for person in range(num_people):
        body = walking_pose(2 * np.pi * 1.0 * time + person) * (1 + 0.03 * (person % 3 - 1))
        heading = 0.5 + 0.35 * person
        turn = np.array([[np.cos(heading), 0, np.sin(heading)], [0, 1, 0], [-np.sin(heading), 0, np.cos(heading)]])
        column, row = person % 5, person // 5
        start = np.array([1.1 * (column - (min(num_people, 5) - 1) / 2), 0, 5.0 + 1.3 * row + 0.4 * (column % 2)])
        world = body @ turn.T + start + 0.8 * time[:, None, None] * (turn @ [0, 0, 1]) * 0.4
        people.append(world * [-1, -1, 1] + [0, 1.5, 0])  # a rotation: a mirror would swap the sides
    joints = np.stack(people, 1).reshape(-1, 17, 3).astype(np.float64)
    pixels = camera.project(torch.from_numpy(joints)).numpy()
    noisy = joints + np.random.default_rng(seed).normal(0, noise, joints.shape) if noise else joints
    count = num_people * num_frames
    low, high = pixels.min(1) - 10, pixels.max(1) + 10
    return PoseSequence(
        skeleton='h36m',
        frame_numbers=np.arange(num_frames),
        frame_times=time,
        frame_names=np.array([''] * num_frames),
        cameras=camera.expand(num_frames),
        frame=np.repeat(np.arange(num_frames), num_people),
        track=np.tile(np.arange(num_people), num_frames),
        keypoints_2d=pixels.astype(np.float32),
        scores_2d=np.full((count, 17), 0.9, np.float32),
        bboxes=np.concatenate([low, high], -1).astype(np.float32),
        bbox_scores=np.full(count, 0.9, np.float32),
        keypoints_cam=noisy.astype(np.float32),
        input_keypoints_cam=noisy.astype(np.float32),
        uncertainty=np.full((count, 17), 0.03, np.float32),
        reprojection_error=np.zeros(count, np.float32),
        search_residual=np.full(count, 0.01, np.float32),
        used=np.ones((count, 17), bool),
        valid=np.ones(count, bool),
    )
