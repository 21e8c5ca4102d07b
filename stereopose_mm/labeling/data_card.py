# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The data card of a set of labels: what is in it, on what terms, how it was made, and how good it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..files import whole_file
from .card_plots import camera_figure, pose_figure, quality_figure, save_figure
from .label_sheet import draw_label_sheets
from .manifest import MANIFEST, read_manifest
from .set_statistics import SetStatistics, gather_statistics, label_files
from .source_terms import terms_of
from .splits import SPLITS

#: Files of a card: the page, its numbers, and the folder of its pictures.
CARD, NUMBERS, PICTURES = 'README.md', 'data_card.json', 'data_card'
_CARD_VERSION = 1
_MEASURES = {
    'quality': ('quality, 0 to 1', 2),
    'expected_error_mm': ('error that quality lets expect, mm', 0),
    'search_residual_mm': ('moved sideways by the search, mm', 1),
    'refine_moved_mm': ('moved along rays by refinement, mm', 1),
    'reprojection_error_px': ('reprojection error, pixels', 6),
    'field_of_view_deg': ('horizontal field of view, degrees', 1),
    'root_depth_m': ('distance of the root, m', 2),
    'person_height_px': ('height in the picture, pixels', 0),
    'hand_height': ('height of hands along the trunk, 0 hips, 1 neck', 2),
    'elbow_flexion_deg': ('bend of elbows, degrees', 0),
    'knee_flexion_deg': ('bend of knees, degrees', 0),
    'lean_deg': ("trunk to the picture's vertical, degrees", 0),
}
_TOLD = {
    'generator': 'generator',
    'config_hash': 'configuration',
    'seed': 'seed',
    'camera_source': 'cameras from',
    'keypoint_set': 'lifter for',
}


def write_data_card(
    folder: str | Path, images: str | Path | None = None, name: str | None = None, examples: int = 12
) -> Path:
    """Describe a finished set: a page, pictures and numbers in its folder. What is there of them is replaced.

    The set is read a batch at a time. The same set gives the same page and numbers.

    Args:
        folder: Of the set: shards of labels, and, where the label generator made it, of rejects and a manifest.
        images: Folder of the images, for the contact sheets; without it they have the labels only.
        name: Title. Default: the folder's name.
        examples: Labels on each of the contact sheets.

    Returns:
        The page, ``README.md``; ``data_card.json`` and the pictures in ``data_card`` are beside it.

    Raises:
        ValueError: If the folder has no labels, a file of them is missing or cannot be read, the set is not finished,
            or there is no such folder of images; nothing has been written then.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is not None and not manifest['complete']:
        raise ValueError(f'{folder / MANIFEST}: the set is not finished; give the command that makes it again')
    statistics = gather_statistics(folder)
    paths = [path for split in label_files(folder).values() for path in split]
    sheets = draw_label_sheets(paths, statistics.measures['quality'].quantile(0.5), images, examples)
    figures = dict(poses=pose_figure(statistics), cameras=camera_figure(statistics), quality=quality_figure(statistics))
    numbers = card_numbers(statistics, manifest)

    (folder / PICTURES).mkdir(exist_ok=True)
    for title, figure in figures.items():
        save_figure(figure, folder / PICTURES / f'{title}.png')
    for title, sheet in sheets.items():
        with whole_file(folder / PICTURES / f'{title}.png') as temporary:
            temporary.write_bytes(cv2.imencode('.png', sheet)[1].tobytes())
    with whole_file(folder / NUMBERS) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1, allow_nan=False) + '\n', encoding='utf-8')
    with whole_file(folder / CARD) as temporary:
        temporary.write_text(card_text(name or folder.resolve().name, numbers, list(sheets)), encoding='utf-8')
    return folder / CARD


def card_numbers(statistics: SetStatistics, manifest: Mapping | None) -> dict[str, Any]:
    """All that the card tells, as JSON can hold it."""
    sources = {
        name: dict(
            labels={split: source.labels[split] for split in SPLITS},
            rejects=dict(source.rejects.most_common()),
            median_quality=_number(source.quality.quantile(0.5)),
            median_expected_error_mm=_number(source.expected_error.quantile(0.5)),
            terms=asdict(terms_of(name)),
        )
        for name, source in sorted(statistics.sources.items())
    }
    rejects = statistics.rejects
    made = None
    if manifest is not None:
        made = {key: manifest[key] for key in ('generator', 'config_hash', 'settings', 'with_images', 'inputs')}
    return dict(
        version=_CARD_VERSION,
        people=statistics.labels.total() + rejects.total(),
        labels={split: statistics.labels[split] for split in SPLITS},
        images={split: statistics.images.get(split, 0) for split in SPLITS},
        rejects=dict(sorted(rejects.items(), key=lambda entry: (-entry[1], entry[0]))),
        sources=sources,
        told={
            key: {str(value): told[value] for value in sorted(told, key=str)} for key, told in statistics.told.items()
        },
        made=made,
        measures={name: histogram.summary() for name, histogram in statistics.measures.items()},
        rejected_quality=statistics.rejected_quality.summary(),
        facing_nowhere=statistics.facing_nowhere,
    )


def card_text(name: str, numbers: Mapping, sheets: Sequence[str]) -> str:
    """The page.

    Args:
        name: Title.
        numbers: From :func:`card_numbers`.
        sheets: Which contact sheets there are.
    """
    sections = [
        f'# {name}',
        _summary(numbers),
        '## What is in it', _counts(numbers), _rejects(numbers),
        '## Terms', _terms(numbers),
        '## How it was made', _making(numbers),
        '## How good it is', _quality(numbers), _picture('quality', 'Histograms of quality, expected error, movement'),
        *(f'### The {title} labels\n\n{_picture(title, f"Contact sheet of the {title} labels")}' for title in sheets),
        '## Poses', _poses(numbers), _picture('poses', 'Where joints are, where bodies face, hands, bends, lean'),
        '## Cameras', _cameras(numbers), _picture('cameras', 'Histograms of field of view, distance and size'),
        '## All measures', _measures(numbers),
        '## Use', _USE,
        '## Limits', _LIMITS,
    ]  # fmt: skip
    return '\n\n'.join(section for section in sections if section) + '\n'


_USE = f"""Each row is a person; the columns are those of Wild-3D, version 1, and of the label generator
(`input_keypoints` and so on: the 2D that labels were made from). Any reader of Parquet opens it, and StereoPose-MM
trains on it:

```python
from stereopose_mm.datasets.wild3d_files import column_array, read_parquet

table = read_parquet('.', 'train', ['keypoints_3d', 'label_quality'])
poses = column_array(table, 'keypoints_3d')  # (N, 17, 4): x, y, z in metres in the camera's frame, and validity
```

Keep `source` and `source_record`, so that what may not be passed on can be taken out again. Numbers of this page with
all histograms: [`{NUMBERS}`]({NUMBERS}). Who was rejected, and why: `rejects-*.parquet`."""
_LIMITS = """- Labels are estimated from 2D by a network, a search and a fit of bone lengths. None is measured.
- Distance and size are known only together: a child near and an adult far away look alike. Where the camera is a
  prior, distances are as wrong as it is.
- Left and right, or a joint that is hidden, are as the 2D has them.
- Quality is calibrated on motion capture with made errors; it ranks labels, and is no guarantee for any one.
- People who may be recognised in pictures have rights of their own, whatever the licence."""


def _summary(numbers: Mapping) -> str:
    labels, people = sum(numbers['labels'].values()), numbers['people']
    images = sum(numbers['images'].values())
    return (
        f'{labels:,} people on {images:,} images with 3D poses (H36M-17, metres, camera frame), from 2D keypoints of '
        f'{", ".join(f"`{source}`" for source in numbers["sources"])}. {labels / max(people, 1):.0%} of {people:,} '
        'people passed the gate. The pictures are not part of it.'
    )


def _counts(numbers: Mapping) -> str:
    rows = [
        [f'`{name}`', *(f'{told["labels"][split]:,}' for split in SPLITS), f'{sum(told["rejects"].values()):,}',
         _shown(told['median_quality'], 2), _shown(told['median_expected_error_mm'], 0)]
        for name, told in numbers['sources'].items()
    ]  # fmt: skip
    total = sum(numbers['rejects'].values())
    measures = (('quality', 2), ('expected_error_mm', 0))
    medians = [_shown(numbers['measures'][name].get('q50'), decimals) for name, decimals in measures]
    rows.append(['all', *(f'{numbers["labels"][split]:,}' for split in SPLITS), f'{total:,}', *medians])
    rows.append(['images', *(f'{numbers["images"][split]:,}' for split in SPLITS), '', '', ''])
    return _table(('source', *SPLITS, 'rejected', 'median quality', 'median expected error, mm'), rows, 1)


def _rejects(numbers: Mapping) -> str:
    people = max(numbers['people'], 1)
    rows = [(reason, f'{count:,}', f'{count / people:.1%}') for reason, count in numbers['rejects'].items()]
    return _table(('rejected because', 'people', 'of all'), rows, 1) if rows else 'Nobody was rejected.'


def _terms(numbers: Mapping) -> str:
    rows = [
        (f'`{name}`', told['terms']['title'], told['terms']['annotations'], told['terms']['pictures'])
        for name, told in numbers['sources'].items()
    ]
    return (
        'A label is a derivative of the annotation that it was made from, and its terms hold for it too. They are told '
        "here as the sets' own pages do, which you should read before you use or pass on anything; a source is named "
        "by its annotations' format, so a file of your own in COCO's format is listed as `coco`.\n\n"
        + _table(('source', 'set', 'annotations', 'pictures'), rows, 4)
    )


def _making(numbers: Mapping) -> str:
    told, made = numbers['told'], numbers['made']
    rows = [(title, _several(told[key])) for key, title in _TOLD.items() if told.get(key)]
    text = ''
    if made is not None:
        rows += _settings(made['settings'], made['with_images'])
        inputs = [
            (f'`{entry["name"]}`', entry['format'], f'{entry["people"]:,}', f'`{entry["sha256"][:16]}`')
            for entry in made['inputs']
        ]
        text = '\n\n' + _table(('made from', 'format', 'people', 'SHA-256 begins'), inputs, 2)
    return _table(('what', 'value'), rows, 2) + text


def _settings(settings: Mapping, with_images: bool) -> list[tuple[str, str]]:
    camera, least = settings['camera'], settings['thresholds']['min_quality']
    prior = f'{camera["fov_deg"]:g}° horizontal field of view where nothing tells it'
    if camera['given'] is not None:
        prior = 'one given camera for all: ' + ', '.join(f'{value:g}' for value in camera['given'][:6])
    exif = 'read' if camera['exif'] and with_images else 'not read'
    lifters = {name: checksums[-1][:16] for name, checksums in settings['lifters'].items()}
    return [
        ('camera prior', prior),
        ('EXIF', exif),
        ('lifters', ', '.join(f'{name} `{checksum}`' for name, checksum in lifters.items())),
        ('refinement', f'{settings["refine_steps"]} steps at most'),
        ('passes that quality is told from', str(settings['num_passes'])),
        ('least quality', "the calibration's" if least is None else f'{least:g}'),
        ('training share', f'{settings["train_share"]:.0%} of images, by the hash of their names'),
    ]


def _quality(numbers: Mapping) -> str:
    quality, expected, error = (
        numbers['measures'][name] for name in ('quality', 'expected_error_mm', 'reprojection_error_px')
    )
    sentences = []
    if quality['number']:
        spread = f'from {quality["q05"]:.2f} to {quality["q95"]:.2f} for nine labels in ten'
        sentences.append(f'Quality is {quality["q50"]:.2f} in the median, {spread}.')
    if expected['number']:
        words = 'The mean joint error, relative to the root, that it lets expect'
        sentences.append(f'{words} is {expected["q50"]:.0f} mm in the median.')
    if error['number']:
        words = f'{error["q95"]:.2g} pixels by 95 % of labels, to {error["max"]:.2g} by all'
        sentences.append(f'Keypoints that were used are met to {words}.')
    return ' '.join(sentences)


def _poses(numbers: Mapping) -> str:
    hands, facing = numbers['measures']['hand_height'], numbers['measures']['facing_deg']
    if not hands['number']:
        return 'No label has a whole pose.'
    edges, counts = np.array(facing['edges']), np.array(facing['counts'])
    to_camera = counts[(edges[:-1] >= -90) & (edges[1:] <= 90)].sum() / max(counts.sum(), 1)
    above = _above(hands, 1.0)
    return (
        f'{to_camera:.0%} of bodies face the half of the room where the camera is; {above:.0%} of hands are above the '
        f'neck, along the trunk. The fronts of {numbers["facing_nowhere"]:,} face up or down.'
    )


def _cameras(numbers: Mapping) -> str:
    view, depth = (numbers['measures'][name] for name in ('field_of_view_deg', 'root_depth_m'))
    if not view['number']:
        return 'No label has a camera.'
    return (
        f'Fields of view are from {view["min"]:.1f}° to {view["max"]:.1f}°, {view["q50"]:.1f}° in the median; people '
        f'stand {depth["q50"]:.1f} m away, from {depth["q05"]:.1f} to {depth["q95"]:.1f} m for nine in ten.'
    )


def _measures(numbers: Mapping) -> str:
    rows = []
    for name, (title, decimals) in _MEASURES.items():
        told = numbers['measures'][name]
        if told['number']:
            keys = ('mean', 'min', 'q05', 'q25', 'q50', 'q75', 'q95', 'max')
            rows.append((title, *(_shown(told[key], decimals) for key in keys)))
    return _table(('', 'mean', 'least', '5 %', '25 %', 'median', '75 %', '95 %', 'greatest'), rows, 1)


def _above(histogram: Mapping, value: float) -> float:
    """Share of the numbers that are at an edge of the bins or above it."""
    counts, edges = np.array(histogram['counts']), np.array(histogram['edges'])
    return float((counts[edges[:-1] >= value - 1e-9].sum() + histogram['above']) / histogram['number'])


def _several(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ', '.join(f'{value} ({count:,})' for value, count in counts.items())


def _picture(name: str, words: str) -> str:
    return f'![{words}]({PICTURES}/{name}.png)'


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _shown(value: float | None, decimals: int) -> str:
    return '–' if value is None else f'{value:,.{decimals}f}'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A Markdown table whose columns from ``left`` on are numbers."""
    rule = ['---'] * left + ['---:'] * (len(head) - left)
    return '\n'.join('| ' + ' | '.join(cell.replace('|', r'\|') for cell in row) + ' |' for row in (head, rule, *rows))
