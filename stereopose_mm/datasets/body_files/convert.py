# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Motion-capture files of any kind to one NPZ of H36M-17 and COCO-17 on the same bodies."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..mocap_files.convert import (
    Clip,
    ConvertOptions,
    ConvertSummary,
    MotionFrames,
    convert_clips,
    pack_clips,
)
from .anny_rig import AnnyRig
from .distribution import BodyDistribution
from .retarget import segment_turns


@dataclass
class BodyOptions:
    """Which bodies a motion is given.

    Attributes:
        bodies: How often each frame is posed, each time as another body.
        frames_per_body: Frames after which the body changes.
        seed: Same seed, same bodies; a clip's bodies depend on its name, not on the other clips.
        population: Whose bodies.
    """

    bodies: int = 1
    frames_per_body: int = 30
    seed: int = 0
    population: BodyDistribution = field(default_factory=BodyDistribution)

    def __post_init__(self) -> None:
        for name, least in (('bodies', 1), ('frames_per_body', 1), ('seed', 0)):
            if getattr(self, name) < least:
                raise ValueError(f'{name} takes {least} or more, got {getattr(self, name)}')


@dataclass
class BodyClip(Clip):
    """One motion, posed as many bodies.

    Attributes:
        body: ``(F,)`` which of the clip's bodies each frame is.
        phenotypes: ``(B, P)`` the clip's bodies.
    """

    body: np.ndarray
    phenotypes: np.ndarray


def convert_bodies(
    sources: list[str | Path],
    out: str | Path,
    options: ConvertOptions | None = None,
    body_options: BodyOptions | None = None,
    report: Callable[[str], None] | None = None,
) -> ConvertSummary:
    """Pose bodies of many shapes by motion files, into one NPZ file; broken files are reported and left out.

    The NPZ is that of :func:`convert_mocap` with the same clips, but `joints` ``(F, 34, 3)`` are H36M-17, then COCO-17,
    on one body a frame, from the H36M-17 root, and `skeleton` is 'h36m_coco'. `body_index` ``(F,)`` gives the body of
    each frame in `body_phenotypes` ``(B, P)``, whose columns are `phenotype_names`. With several bodies a frame, a
    clip holds its frames so many times one after the other.

    Args:
        sources: BVH, AMC and DeepMimic motion files, folders and archives of them.
        out: The NPZ file.
        options: How to read motions; `bvh_unit` has no bearing, as only rotations are taken.
        body_options: Which bodies.
        report: Told of each skipped file in one line; default prints it to stderr.

    Returns:
        What was converted. Without a single clip no file is written.

    Raises:
        ValueError: If a source does not exist or is of no known kind, or `out` is no .npz name.
    """
    body_options = body_options or BodyOptions()
    rig = AnnyRig.load()

    def make(clip: MotionFrames, name: str, subject: str, kind: str) -> BodyClip:
        joints, body, phenotypes = pose_bodies(clip, rig, body_options, name)
        return BodyClip(name, subject, kind, clip.fps, joints, body, phenotypes)

    def pack(clips: list[BodyClip]) -> dict[str, np.ndarray]:
        return pack_bodies(clips, rig.phenotype_names)

    return convert_clips(sources, out, options or ConvertOptions(), make, pack, report)


def pose_bodies(
    clip: MotionFrames, rig: AnnyRig, options: BodyOptions, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose bodies by one motion.

    Args:
        clip: The motion.
        rig: The body model.
        options: Which bodies.
        name: The clip's name, which the draw of bodies depends on.

    Returns:
        Joints ``(F, 34, 3)`` in metres, the body of each frame ``(F,)`` and the bodies' phenotypes ``(B, P)``.

    Raises:
        MotionFileError: If the skeleton lacks a segment that turns the body.
    """
    turns = segment_turns(clip.motion, clip.frames)
    stretches = -(-len(turns) // options.frames_per_body)
    generator = np.random.default_rng([options.seed, zlib.crc32(name.encode())])
    phenotypes, factors = options.population.draw(stretches * options.bodies, rig, generator)
    bodies = rig.bodies(phenotypes, factors)
    first = np.arange(len(turns)) // options.frames_per_body
    body = (first + stretches * np.arange(options.bodies)[:, None]).ravel()
    joints = np.concatenate([bodies.pose(turns, one) for one in body.reshape(options.bodies, -1)])
    return joints.astype(np.float32), body, phenotypes


def pack_bodies(clips: list[BodyClip], phenotype_names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Lay clips out as the arrays of the NPZ file, sorted by name.

    Args:
        clips: At least one clip.
        phenotype_names: Names of the phenotypes' columns.

    Returns:
        The arrays by name, as `convert_bodies` describes them.
    """
    clips = sorted(clips, key=lambda clip: clip.name)
    counts = np.array([len(clip.phenotypes) for clip in clips])
    first = np.cumsum(counts) - counts
    return pack_clips(clips) | {
        'skeleton': np.array('h36m_coco'),
        'body_index': np.concatenate([clip.body + start for clip, start in zip(clips, first, strict=True)]),
        'body_phenotypes': np.concatenate([clip.phenotypes for clip in clips]).astype(np.float32),
        'phenotype_names': np.array(phenotype_names),
    }
