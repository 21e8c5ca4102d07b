# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The files that a clip leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ...files import check_results_folder, whole_file
from ...geometry import PoseSequence
from ...visualization import ViewerMedia, write_bvh, write_gltf, write_html
from .files import write_json, write_npz
from .store import Stage

#: What ``save`` takes, in the order of writing.
SAVE = ('video', 'json', 'npz', 'bvh', 'gltf', 'html')
GENERATOR = 'StereoPose-MM clip'
SUMMARY_FILE, VIDEO_FILE, PICTURE_FOLDER = 'summary.json', 'video.mp4', 'pictures'
_FILES = {'json': 'poses3d.json', 'npz': 'poses3d.npz', 'gltf': 'scene.glb', 'html': 'viewer.html'}
# Models and pages of a whole day would open nowhere: they show this many frames, JSON, NPZ and the video all.
MAX_MODEL_FRAMES, MAX_PAGE_FRAMES = 18000, 3000


def check_output(out: Path, save: tuple[str, ...]) -> None:
    """Check that results can be put into a folder without destroying anything else.

    Args:
        out: The folder; it need not exist.
        save: What will be written.

    Raises:
        ValueError: If ``out`` is, or lies in, a file; if it holds files of the names of the results that are no
            earlier result; or for an unknown kind of result.
    """
    unknown = [kind for kind in save if kind not in SAVE]
    if unknown or not save:
        raise ValueError(f'save: takes some of {", ".join(SAVE)}, got {", ".join(unknown) or "none"}')
    names = [_FILES.get(kind) for kind in save] + [SUMMARY_FILE] + [VIDEO_FILE, PICTURE_FOLDER] * ('video' in save)
    names += [file.name for file in out.glob('person_*.bvh')] if 'bvh' in save else []
    check_results_folder(out, filter(None, names), SUMMARY_FILE, GENERATOR)


@dataclass
class ResultWriter:
    """Writes results of a finished clip one after the other.

    Attributes:
        out: The folder.
        stage: The clip's parts, at least one.
        info: What to say about the job.
        title: Of the page.
        warnings: Lines that tell what was left out; more are added.
    """

    out: Path
    stage: Stage
    info: dict
    title: str
    warnings: list[str]

    def write(self, kind: str, media: ViewerMedia | None = None) -> list[Path]:
        """Write one kind of result.

        Args:
            kind: One of :data:`SAVE` but ``'video'``.
            media: Pictures for the page.

        Returns:
            The files.
        """
        path = self.out / _FILES.get(kind, '')
        if kind == 'json':
            write_json(path, self.stage, self.info)
        elif kind == 'npz':
            write_npz(path, self.stage)
        elif kind == 'html':
            write_html(path, self._first_frames(MAX_PAGE_FRAMES, kind), media, title=self.title)
        else:
            return self._write_models(kind, path)
        return [path]

    def _write_models(self, kind: str, path: Path) -> list[Path]:
        clip = self._first_frames(MAX_MODEL_FRAMES, kind)
        clip = clip.select(clip.valid)
        if not len(clip):
            self.warnings.append(f'{kind}: nobody to write')
            return []
        if kind == 'gltf':
            write_gltf(path, clip)
            return [path]
        paths = [path / f'person_{track:03d}.bvh' for track in clip.tracks.tolist()]
        for track, file in zip(clip.tracks.tolist(), paths, strict=True):
            write_bvh(file, clip, track)
        return paths

    def _first_frames(self, most: int, kind: str) -> PoseSequence:
        parts, count = [], 0
        for part in self.stage:
            parts.append(part.select_frames(slice(0, most - count)))
            count += parts[-1].num_frames
            if count == most:
                break
        clip = PoseSequence.concatenate(parts)
        whole = sum(self.stage.read_array(i, 'frame_numbers').size for i in range(len(self.stage)))
        if clip.num_frames < whole:
            self.warnings.append(f'{kind}: of the first {clip.num_frames:,} of {whole:,} frames')
        return clip


def write_summary(out: Path, summary: dict) -> Path:
    """Write ``summary.json``, by which a later run knows that the results are ours."""
    path = out / SUMMARY_FILE
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps({'generator': GENERATOR, **summary}, indent=1) + '\n', encoding='utf-8')
    return path
