# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Motion-capture files of any kind to one NPZ of H36M-17 poses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ...files import whole_file
from ..progress import conversion_progress
from .amc import AmcMotion, parse_amc
from .archive import Source, decode, find_skeleton, find_sources, motion_kind, read_motions
from .asf import parse_asf
from .bvh import BvhMotion, parse_bvh
from .deepmimic import DeepMimicMotion, parse_deepmimic, parse_deepmimic_skeleton
from .kinematics import MotionFileError

SCHEMA_VERSION = 1


@dataclass
class ConvertOptions:
    """How motion files become clips.

    Attributes:
        fps: Wanted frames a second; every n-th frame is kept, n = round(native / fps), at least 1.
        bvh_unit: Metres per unit of BVH files, which do not say.
        bvh_drop_first: Frames to drop at the start of each BVH clip; frame 0 of CMU's is a T-pose.
        amc_fps: Frames a second of AMC files, which do not say.
        subject_prefix: Goes before subjects that are bare numbers: '01' of '01_08.bvh' is 'cmu01'.
    """

    fps: float = 30.0
    bvh_unit: float = 0.01
    bvh_drop_first: int = 1
    amc_fps: float = 120.0
    subject_prefix: str = 'cmu'

    def __post_init__(self) -> None:
        for name in ('fps', 'bvh_unit', 'amc_fps'):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f'{name} takes a positive number, got {value}')
        if self.bvh_drop_first < 0:
            raise ValueError(f'bvh_drop_first takes 0 or more, got {self.bvh_drop_first}')


@dataclass
class MotionFrames:
    """A parsed motion and which of its frames are kept.

    Attributes:
        motion: The motion.
        frames: Its frames that are kept.
        fps: Frames a second that are kept.
    """

    motion: BvhMotion | AmcMotion | DeepMimicMotion
    frames: slice
    fps: float


@dataclass
class Clip:
    """One converted motion.

    Attributes:
        name: Subject and file name: 'cmu01/01_08.bvh'.
        subject: Whose motion it is; the same person has one name in every source.
        source: 'bvh', 'asfamc' or 'deepmimic'.
        fps: Frames a second that are kept.
        joints: ``(F, 17, 3)`` H36M-17 positions in metres, y up.
    """

    name: str
    subject: str
    source: str
    fps: float
    joints: np.ndarray


@dataclass
class ConvertSummary:
    """What a conversion did.

    Attributes:
        clips: Clips written.
        frames: Frames written.
        skipped: One message for each file that was left out.
    """

    clips: int = 0
    frames: int = 0
    skipped: list[str] = field(default_factory=list)


def convert_mocap(
    sources: list[str | Path],
    out: str | Path,
    options: ConvertOptions | None = None,
    report: Callable[[str], None] | None = None,
) -> ConvertSummary:
    """Convert motion files to one NPZ file; broken files are reported and left out.

    The NPZ holds `joints` ``(F, 17, 3)`` float32, the frames of C clips one after the other (metres,
    y up, H36M-17), `clip_index` ``(F,)``, and per clip `clip_names`, `clip_subjects`,
    `clip_sources`, `clip_fps`, `clip_start`, `clip_length` ``(C,)``; `skeleton` and
    `schema_version`. It is written under a temporary name and renamed, so it is whole or absent.

    Args:
        sources: BVH, AMC and DeepMimic motion files, folders and archives of them.
        out: The NPZ file.
        options: How to convert.
        report: Told of each skipped file in one line; default prints it to stderr.

    Returns:
        What was converted. Without a single clip no file is written.

    Raises:
        ValueError: If a source does not exist or is of no known kind, or `out` is no .npz name.
    """
    options = options or ConvertOptions()

    def make(clip: MotionFrames, name: str, subject: str, kind: str) -> Clip:
        return Clip(name, subject, kind, clip.fps, _h36m(clip, options))

    return convert_clips(sources, out, options, make, pack_clips, report)


def convert_clips(
    sources: list[str | Path],
    out: str | Path,
    options: ConvertOptions,
    make: Callable[[MotionFrames, str, str, str], Clip],
    pack: Callable[[list[Clip]], dict[str, np.ndarray]],
    report: Callable[[str], None] | None = None,
) -> ConvertSummary:
    """Turn motion files into clips and write them as one NPZ file; `convert_mocap` says how.

    Args:
        sources: BVH, AMC and DeepMimic motion files, folders and archives of them.
        out: The NPZ file.
        options: How to convert.
        make: Makes a clip of a motion, its name, its subject and its kind.
        pack: Lays the clips out as arrays; not called without a clip.
        report: Told of each skipped file in one line; default prints it to stderr.

    Returns:
        What was converted. Without a single clip no file is written.

    Raises:
        ValueError: If a source does not exist or is of no known kind, or `out` is no .npz name.
    """
    out = Path(out)
    if out.suffix != '.npz' or not out.parent.is_dir():
        raise ValueError(f'out takes a .npz file in a folder that exists, got {out}')
    found = find_sources(sources)
    summary = ConvertSummary()
    with conversion_progress() as progress:
        task = progress.add_task('converting', total=sum(len(s.motions) for s in found))

        def skip(error: MotionFileError) -> None:
            summary.skipped.append(str(error))
            (report or progress.console.out)(f'skipped {error}')

        clips = []
        for source in found:
            for clip in _convert_source(source, options, make, skip):
                if clip is not None:
                    clips.append(clip)
                progress.advance(task)
    if clips:
        arrays = pack(clips)
        _save_npz(out, arrays)
        summary.clips, summary.frames = len(clips), len(arrays['joints'])
    return summary


def pack_clips(clips: list[Clip]) -> dict[str, np.ndarray]:
    """Lay clips out as the arrays of the NPZ file, sorted by name.

    Args:
        clips: At least one clip.

    Returns:
        The arrays by name, as `convert_mocap` describes them.
    """
    clips = sorted(clips, key=lambda clip: clip.name)
    lengths = np.array([len(clip.joints) for clip in clips], dtype=np.int64)
    return {
        'joints': np.concatenate([clip.joints for clip in clips]).astype(np.float32),
        'clip_index': np.repeat(np.arange(len(clips), dtype=np.int32), lengths),
        'clip_names': np.array(_unique([clip.name for clip in clips])),
        'clip_subjects': np.array([clip.subject for clip in clips]),
        'clip_sources': np.array([clip.source for clip in clips]),
        'clip_fps': np.array([clip.fps for clip in clips], dtype=np.float32),
        'clip_start': np.cumsum(lengths) - lengths,
        'clip_length': lengths,
        'skeleton': np.array('h36m'),
        'schema_version': np.array(SCHEMA_VERSION),
    }


def convert_text(
    text: str,
    kind: str,
    file: str,
    options: ConvertOptions,
    skeleton: tuple[str, str] | None = None,
) -> tuple[np.ndarray, float]:
    """Convert one motion file.

    Args:
        text: The file's text.
        kind: 'bvh', 'asfamc' or 'deepmimic'.
        file: Its name, for error messages.
        options: How to convert.
        skeleton: Name and text of the skeleton file; BVH has none.

    Returns:
        Poses ``(F, 17, 3)`` in metres, y up, and their frames a second.

    Raises:
        MotionFileError: If the file or its skeleton is broken, or nothing is left of it.
    """
    clip = read_motion(text, kind, file, options, skeleton)
    return _h36m(clip, options), clip.fps


def read_motion(
    text: str,
    kind: str,
    file: str,
    options: ConvertOptions,
    skeleton: tuple[str, str] | None = None,
) -> MotionFrames:
    """Parse one motion file and choose its frames; takes what `convert_text` takes.

    Raises:
        MotionFileError: If the file or its skeleton is broken, or nothing is left of it.
    """
    first = 0
    if kind == 'bvh':
        motion = parse_bvh(text, file)
        first = options.bvh_drop_first
    elif kind == 'asfamc':
        motion = parse_amc(text, parse_asf(skeleton[1], skeleton[0]), file, options.amc_fps)
    else:
        motion = parse_deepmimic(text, parse_deepmimic_skeleton(skeleton[1], skeleton[0]), file)
    step = max(1, round(motion.fps / options.fps))
    if first >= len(motion.frames):
        raise MotionFileError(file, 0, f'only {len(motion.frames)} frame(s), {first} to drop')
    return MotionFrames(motion, slice(first, None, step), motion.fps / step)


def _h36m(clip: MotionFrames, options: ConvertOptions) -> np.ndarray:
    more = {'unit': options.bvh_unit} if isinstance(clip.motion, BvhMotion) else {}
    return clip.motion.h36m(clip.frames, **more)


def subject_of(kind: str, path: str, prefix: str) -> str:
    """Name the subject of a motion file.

    Args:
        kind: 'bvh', 'asfamc' or 'deepmimic'.
        path: The file's name with the folder it lies in.
        prefix: Goes before a bare number.

    Returns:
        For '01_08.bvh', in any folder, prefix + '01' (CMU's subject_trial scheme); 'deepmimic' for
        its motions; the folder for any other file, or what comes before its first '_'.
    """
    if kind == 'deepmimic':
        return kind
    parts = PurePosixPath(path)
    trial = re.match(r'(\d+)_', parts.name)
    folder = parts.parent.name.strip('.')
    subject = trial[1] if trial else (folder or parts.stem.split('_')[0])
    return f'{prefix}{subject}' if subject.isdigit() else subject


def _convert_source(
    source: Source,
    options: ConvertOptions,
    make: Callable[[MotionFrames, str, str, str], Clip],
    skip: Callable[[MotionFileError], None],
) -> Iterator[Clip | None]:
    """Give a clip for each motion file of a source, None for each that was skipped."""
    known = len(source.errors)
    for error in source.errors:
        skip(error)
    for name, read in read_motions(source):
        kind = motion_kind(name)
        # A folder's own name counts as the folder of what lies in it, an archive's does not.
        folder = f'{source.base.absolute().name}/' if source.base.is_dir() else ''
        subject = subject_of(kind, folder + name, options.subject_prefix)
        try:
            text, skeleton = decode(read()), _skeleton(source, name)
            motion = read_motion(text, kind, f'{source.base}/{name}', options, skeleton)
            yield make(motion, f'{subject}/{PurePosixPath(name).name}', subject, kind)
        except MotionFileError as error:
            skip(error)
            yield None
    for error in source.errors[known:]:
        skip(error)


def _skeleton(source: Source, name: str) -> tuple[str, str] | None:
    if motion_kind(name) == 'bvh':
        return None
    skeleton = find_skeleton(source, name)
    return f'{source.base}/{skeleton}', source.skeletons[skeleton]


def _unique(names: list[str]) -> list[str]:
    """Tell apart clips of one name, as the same file given twice makes them: 'a', 'a~2'."""
    count: dict[str, int] = {}
    result = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        result.append(name if count[name] == 1 else f'{name}~{count[name]}')
    return result


def _save_npz(out: Path, arrays: dict[str, np.ndarray]) -> None:
    # Opened here, as numpy adds a suffix to names that it opens.
    with whole_file(out) as temporary, open(temporary, 'wb') as file:
        np.savez_compressed(file, **arrays)
