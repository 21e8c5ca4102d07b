# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What ``tools/check_dataset.py`` does: reads a data set as training would and says what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.datasets.dataset_wrappers import CombinedDataset
from mmpose.registry import DATASETS
from rich.progress import track

from ..datasets import pair_checks
from ..datasets.lifting_dataset import LiftingDataset
from ..files import whole_file
from ..geometry.skeletons import Skeleton, get_skeleton
from ..visualization.contact_sheet import SheetCell, draw_contact_sheet
from .dataset_report import DatasetReport

_CHUNK = 4096
_GROUP_KEYS = ('source_dataset', 'subject', 'action', 'activity', 'scene', 'camera')
# A leg longer or shorter than any adult's or schoolchild's: the unit is wrong.
_LEG_METRES = (0.35, 1.3)
# A bone may be this much off the median of one person, or of people who are not told apart.
_BONE_TOLERANCE, _BONE_TOLERANCE_OF_ALL, _BONE_METRES = 0.25, 0.6, 0.02
# Of the records, what a hand-labelled or fitted set may have wrong without being wrong as a whole.
_FEW = 0.01
_LISTED = 5


def check_dataset(
    config: str,
    split: str = 'train',
    out: str | None = None,
    max_residual: float = 3.0,
    sheet: int = 16,
    cfg_options: dict | None = None,
) -> list[DatasetReport]:
    """Read a config's data set as training would, measure its pairs and draw some of them.

    Args:
        config: Config file.
        split: ``'train'``, ``'val'`` or ``'test'``: the data loader whose data set is read.
        out: Folder for ``report.md``, ``report.json`` and ``contact_sheet.png``; of several data sets, for a folder
            of each, ``0``, ``1``, …. Default: nothing is written.
        max_residual: 2D-3D residual up to which ground truth is taken to fit, pixels.
        sheet: Pairs on the contact sheet; the worst first.
        cfg_options: Overrides of config values by dotted key.

    Returns:
        The report of the data set, or of each part of MMPose's ``CombinedDataset``; something is wrong if one has
        ``problems``.

    Raises:
        ValueError: If the config has no such split, its data set is of another kind than :class:`LiftingDataset`, or
            its files are broken.
    """
    datasets = _build(config, split, cfg_options)
    folders = [out] * len(datasets)
    if out is not None and len(datasets) > 1:
        folders = [Path(out, str(i)) for i in range(len(datasets))]
    return [
        _check(dataset, f'{Path(config).stem}, {split}: {type(dataset).__name__}', folder, max_residual, sheet)
        for dataset, folder in zip(datasets, folders, strict=True)
    ]


def _check(
    dataset: LiftingDataset, name: str, out: str | Path | None, max_residual: float, sheet: int
) -> DatasetReport:
    skeleton = get_skeleton(dataset.metainfo['dataset_name'])
    report = DatasetReport(name, records=len(dataset))
    found = _measure(dataset, skeleton)
    _report_counts(report, found)
    _report_images(report, found)
    _report_swaps(report, found, skeleton, max_residual, dataset.exact_keypoints)
    _report_residuals(report, found, skeleton, max_residual, dataset.exact_keypoints)
    _report_bones(report, found, skeleton)
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        picture = _draw_sheet(dataset, found, skeleton, report.name, sheet)
        with whole_file(folder / 'contact_sheet.png') as file:
            cv2.imwrite(str(file), picture)
        with whole_file(folder / 'report.json') as file:
            file.write_text(json.dumps(asdict(report), indent=2) + '\n', encoding='utf-8')
        with whole_file(folder / 'report.md') as file:
            file.write_text(report.to_markdown(), encoding='utf-8')
    return report


def _build(config: str, split: str, cfg_options: dict | None) -> list[LiftingDataset]:
    cfg = Config.fromfile(config)
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        raise ValueError(f'{config}: has no {split}_dataloader')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpose')):
        dataset = DATASETS.build(loader.dataset)
    datasets = dataset.datasets if isinstance(dataset, CombinedDataset) else [dataset]
    for part in datasets:
        if not isinstance(part, LiftingDataset):
            raise ValueError(f'{config}: {split} data set is a {type(part).__name__}; takes kinds of LiftingDataset')
    return datasets


@dataclass
class _Found:
    """Measures of N records."""

    residual: torch.Tensor
    as_labelled: torch.Tensor
    exchanged: torch.Tensor
    bones: torch.Tensor
    backward: torch.Tensor
    pose: torch.Tensor
    pose_visible: torch.Tensor
    outside: torch.Tensor
    behind: torch.Tensor
    meta: dict[str, np.ndarray]
    flagged: dict[int, str] = field(default_factory=dict)

    def name(self, record: int) -> str:
        path = self.meta.get('img_path')
        return f'record {record}' + ('' if path is None else f' ({path[record]})')

    def people(self, keys: Sequence[str]) -> np.ndarray | None:
        """What tells people apart: the first of these keys that the records have."""
        return next((self.meta[key].astype(str) for key in keys if key in self.meta), None)

    def some(self, mask: torch.Tensor) -> str:
        """The first records of a mask, in words."""
        records = mask.nonzero().flatten().tolist()
        more = f' and {len(records) - _LISTED} more' if len(records) > _LISTED else ''
        return ', '.join(map(self.name, records[:_LISTED])) + more


def _measure(dataset: LiftingDataset, skeleton: Skeleton) -> _Found:
    parts, meta = [], {}
    starts = range(0, len(dataset), _CHUNK)
    for start in track(starts, 'Reading', disable=len(starts) < 2):
        batch = dataset._batch(list(range(start, min(start + _CHUNK, len(dataset)))))
        inside = (batch.keypoints >= 0).all(-1)
        for axis, size in enumerate((batch.camera.width, batch.camera.height)):
            inside &= batch.keypoints[..., axis] < torch.as_tensor(size)[:, None]
        seen = batch.keypoints_visible > 0
        known = batch.pose_visible > 0
        parts.append(
            dict(
                residual=pair_checks.reprojection_residuals(batch),
                bones=pair_checks.bone_lengths(batch.pose_cam, batch.pose_visible, skeleton),
                backward=pair_checks.knees_bend_backward(batch.pose_cam, batch.pose_visible, skeleton),
                pose=batch.pose_cam,
                pose_visible=batch.pose_visible,
                outside=torch.where(seen, (~inside).float(), torch.nan),
                behind=(known & (batch.pose_cam[..., 2] <= 0)).any(1),
                **dict(zip(('as_labelled', 'exchanged'), pair_checks.swapped_residuals(batch, skeleton), strict=True)),
            )
        )
        for key in (*_GROUP_KEYS, 'sequence', 'frame', 'img_path'):
            if key in batch.meta:
                meta.setdefault(key, []).extend(batch.meta[key])
    whole = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    # A key that only some of a mixture's data sets have tells nothing about all.
    return _Found(**whole, meta={k: np.asarray(v) for k, v in meta.items() if len(v) == len(dataset)})


def _report_counts(report: DatasetReport, found: _Found) -> None:
    report.with_3d = int((found.pose_visible > 0).any(1).sum())
    for key in _GROUP_KEYS:
        if key in found.meta:
            report.counts[key] = dict(sorted(Counter(map(str, found.meta[key])).items()))
    outside = found.outside[~found.outside.isnan()]
    report.outside_image = float(outside.mean()) if len(outside) else 0.0
    if report.outside_image > 0:
        report.notes.append(f'{report.outside_image:.2%} of the visible keypoints are outside the image')
    if report.with_3d < report.records:
        report.notes.append(f'{report.records - report.with_3d:,} people have no 3D label')
    if found.behind.any():
        report.problems.append(f'joints behind the camera: {found.some(found.behind)}')
        _flag(found, found.behind, 'behind the camera')
    if {'sequence', 'frame'} <= found.meta.keys():
        pairs = Counter(zip(found.meta['sequence'].tolist(), found.meta['frame'].tolist(), strict=True))
        twice = [pair for pair, count in pairs.items() if count > 1]
        if twice:
            report.problems.append(f'{len(twice)} frames are there twice, first frame {twice[0][1]} of {twice[0][0]}')


def _report_images(report: DatasetReport, found: _Found) -> None:
    if 'img_path' not in found.meta:
        return
    paths = sorted(set(found.meta['img_path'].tolist()))
    folders = {}
    missing = []
    for path in map(Path, paths):
        # One listing of a folder is much faster than a question for each of its files.
        if path.parent not in folders:
            folders[path.parent] = set()
            if path.parent.is_dir():
                folders[path.parent] = {entry.name for entry in path.parent.iterdir()}
        if path.name not in folders[path.parent]:
            missing.append(str(path))
    report.images = dict(images=len(paths), missing=len(missing))
    if len(missing) == len(paths):
        report.notes.append(f'none of the {len(paths):,} images is there; lifting needs none')
    elif missing:
        listed = ', '.join(missing[:_LISTED])
        report.problems.append(f'{len(missing):,} of {len(paths):,} images are missing: {listed}')


def _report_residuals(report, found: _Found, skeleton: Skeleton, limit: float, exact: bool) -> None:
    known = found.residual[~found.residual.isnan()]
    if not len(known):
        return
    report.residual_px = dict(
        mean=known.mean().item(),
        median=known.median().item(),
        percentile_95=float(np.percentile(known.numpy(), 95)),
        maximum=known.max().item(),
    )
    by_joint = found.residual.nanmean(0)
    report.residual_by_joint_px = dict(zip(skeleton.joint_names, by_joint.tolist(), strict=True))
    of_record = found.residual.nanmean(1)
    for camera in sorted(set(map(str, found.meta.get('camera', ())))):
        of_camera = of_record[torch.from_numpy(found.meta['camera'].astype(str) == camera)]
        of_camera = of_camera[~of_camera.isnan()]
        if len(of_camera):
            report.residual_by_camera_px[camera] = of_camera.median().item()
    if not exact:
        report.notes.append(
            '2D is not the projection of 3D here (of a detector, real or imitated, or 3D at another scale): the '
            'residual says nothing about the cameras'
        )
        return
    wrong = [name for name, value in report.residual_by_camera_px.items() if value > limit]
    if wrong:
        values = ', '.join(f'{name} ({report.residual_by_camera_px[name]:.1f} px)' for name in wrong)
        report.problems.append(f'2D and 3D do not fit together in camera {values}: wrong intrinsics or lens')
    off = of_record > limit
    if off.any():
        texts = report.problems if off.float().mean() > _FEW else report.notes
        texts.append(f'2D and 3D are more than {limit:g} px apart in {int(off.sum()):,}: {found.some(off)}')
    _flag(found, off, '2D and 3D apart', of_record)


def _report_bones(report: DatasetReport, found: _Found, skeleton: Skeleton) -> None:
    if found.bones.isnan().all():
        return
    person = found.people(('subject', 'sequence'))
    tolerance, whose = _BONE_TOLERANCE, "that person's"
    if person is None:
        person = np.full(report.records, '')
        tolerance, whose = _BONE_TOLERANCE_OF_ALL, "everybody's"
    names, index = np.unique(person, return_inverse=True)
    deviation = torch.full(found.bones.shape, torch.nan)
    for number in range(len(names)):
        mask = torch.from_numpy(index == number)
        bones = found.bones[mask]
        median = bones.nanmedian(0).values
        # Of a short bone, the share is a matter of millimetres.
        deviation[mask] = (bones - median).abs() / (tolerance * median).clamp(min=_BONE_METRES)
    odd = (deviation > 1).any(1)
    report.bone_outliers = int(odd.sum())
    if odd.any():
        texts = report.problems if odd.float().mean() > _FEW else report.notes
        share = f'a bone {tolerance:.0%} off {whose} median'
        texts.append(f'{report.bone_outliers:,} records have {share}: {found.some(odd)}')
        _flag(found, odd, 'bone length')
    # Thigh and shin of both sides.
    ends = [skeleton.index(name) for side in ('left', 'right') for name in (f'{side}_hip', f'{side}_knee')]
    legs = [i for i, (parent, _) in enumerate(skeleton.bones) if parent in ends]
    leg = found.bones[:, legs].nanmean(1).nanmedian().item() * 2
    # NaN where no leg is known.
    if leg <= _LEG_METRES[0] or leg >= _LEG_METRES[1]:
        report.problems.append(f'legs are {leg:.3g} m long: the unit is not metres')


def _report_swaps(report, found: _Found, skeleton: Skeleton, limit: float, exact: bool) -> None:
    against = (found.as_labelled > limit) & (found.as_labelled > 3 * found.exchanged)
    between = torch.zeros_like(against)
    if {'sequence', 'frame'} <= found.meta.keys():
        sequence = torch.from_numpy(np.unique(found.meta['sequence'], return_inverse=True)[1])
        frame = torch.from_numpy(found.meta['frame'].astype(np.int64))
        between = pair_checks.exchanged_between_frames(found.pose, found.pose_visible, sequence, frame, skeleton)
    whole = torch.zeros_like(against)
    person = found.people(('sequence', 'subject'))
    person = np.full(report.records, '') if person is None else person
    for name in np.unique(person):
        mask = torch.from_numpy(person == name)
        backward = found.backward[mask]
        backward = backward[~backward.isnan()]
        if len(backward) >= 10 and backward.mean() > 0.5:
            whole |= mask
    report.swaps = {
        '2D against 3D': int(against.sum()),
        'from frame to frame': int(between.sum()),
        'of whole sequences': int(whole.sum()),
    }
    texts = report.problems if exact else report.notes
    if against.any():
        texts.append(f'left and right of 2D are exchanged against 3D in {int(against.sum()):,}: {found.some(against)}')
    if between.any():
        report.problems.append(
            f'left and right change places between frames in {int(between.sum()):,}: {found.some(between)}'
        )
    if whole.any():
        report.problems.append(
            f'knees bend backward in most of the frames of {int(whole.sum()):,} records: left and right are exchanged, '
            f'or the pose is mirrored: {found.some(whole)}'
        )
    for mask, words in ((against, 'left and right: 2D, 3D'), (between, 'left and right: frames'), (whole, 'mirrored')):
        _flag(found, mask, words)


def _flag(found: _Found, mask: torch.Tensor, words: str, order: torch.Tensor | None = None) -> None:
    records = mask.nonzero().flatten()
    if order is not None:
        records = records[order[records].argsort(descending=True)]
    for record in records[:64].tolist():
        found.flagged.setdefault(record, words)


def _draw_sheet(dataset: LiftingDataset, found: _Found, skeleton: Skeleton, title: str, number: int) -> np.ndarray:
    flagged = list(found.flagged)[: number // 2]
    spread = np.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().astype(int).tolist()
    records = list(dict.fromkeys([*flagged, *spread]))[:number]
    batch = dataset._batch(records)
    seen, known = batch.keypoints_visible > 0, (batch.pose_visible > 0) & (batch.pose_cam[..., 2] > 0)
    pose = torch.where(known[..., None], batch.pose_cam, torch.nan)
    safe = torch.where(known[..., None], batch.pose_cam, pose.new_tensor([0.0, 0.0, 1.0]))
    projected = torch.where(known[..., None], batch.camera.project(safe), torch.nan).numpy()
    keypoints = torch.where(seen[..., None], batch.keypoints, torch.nan).numpy()
    cells = []
    for i, record in enumerate(records):
        path = batch.meta['img_path'][i] if 'img_path' in batch.meta else None
        image = cv2.imread(path) if path is not None and Path(path).is_file() else None
        labels = [str(found.meta[key][record]) for key in ('subject', 'action', 'activity') if key in found.meta]
        residual = found.residual[record].nanmean().item()
        measure = '' if np.isnan(residual) else f'{residual:.3g} px'
        second = ' · '.join(filter(None, [found.flagged.get(record, ''), measure, *labels]))
        name = f'record {record}' if path is None else Path(path).name
        cells.append(
            SheetCell(keypoints[i], projected[i], pose[i].numpy(), image, (name, second), record in found.flagged)
        )
    return draw_contact_sheet(cells, skeleton, title)
