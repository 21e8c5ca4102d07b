# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The page of a detector's errors: what was measured, what published figures stand beside it, and the imitation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import fill

import numpy as np

from ..files import whole_file
from .detector_errors import (
    AREA_PER_SIZE,
    OKS_SIGMAS,
    DetectedPeople,
    average_recall,
    error_lengths,
    imitate_people,
    join_people,
    measure_errors,
    read_detected_people,
)
from .detector_noise import COCO_GROUPS, MEASURED, DetectorNoise

_LEVELS = (1.0, 0.75, 0.6, 0.5, 0.4, 0.25)
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# Average recall on COCO val2017, from the metafiles that MMPose 1.3.2 is installed with (configs/body_2d_keypoint).
_PUBLISHED_RECALL = {
    'LiteHRNet-18, 256×192': 0.705,
    'MobileNetV2, 256×192': 0.709,
    'RTMPose-t, 256×192': 0.736,
    'RTMPose-m, 256×192': 0.795,
    'HRNet-W32, 256×192': 0.799,
    'ViTPose-B, 256×192': 0.81,
    'ViTPose-H, 256×192': 0.839,
}
_MEASURES = {
    'lost': ('people lost (median error beyond half a body size)', None),
    'jitter': ('jitter: twice the median of people\'s levels', 'jitter'),
    'level_tenth': ('a tenth of the people have a level below', None),
    'level_nine_tenths': ('a tenth of the people have a level above', None),
    'gross_prob': ('gross errors, share of the limbs\' joints', 'gross_prob'),
    'gross_scale': ('gross errors, deviation per axis', 'gross_scale'),
    'inversion_prob': ('inversions, share of joints that can be told from their mirror images', 'inversion_prob'),
    'swap_prob': ('whole arms or legs swapped, share of people', 'swap_prob'),
    'score_below_0.1': ('joints with a score below 0.1', 'missing_prob'),
    'score_below_0.2': ('joints with a score below 0.2', None),
    'score_below_0.3': ('joints with a score below 0.3', None),
    'rank_correlation': ('rank correlation of score and error', None),
    'score_intercept': ('logit of the score = a + b log(error + 0.05): a', None),
    'score_slope': ('b', None),
    'score_blur': ('scatter about it within a person', None),
    'score_spread': ('scatter of people\'s means', None),
    'average_recall': ('average recall (OKS 0.50 … 0.95), all people', None),
    'average_recall_found': ('average recall, without the lost', None),
}  # fmt: skip


def write_report(
    ann_files: Sequence[str], datasets: Sequence[str], detections: Sequence[str], out: str | Path,
    exclude: Sequence[str] = (), num_bootstrap: int = 200, seed: int = 0,
) -> dict:  # fmt: skip
    """Measure a detector on annotated pictures and write the page, and its numbers beside it as JSON.

    Args:
        ann_files: Annotations; see :func:`read_detected_people`.
        datasets: MMPose's name of each file's keypoint set.
        detections: The detector's results on each.
        out: Markdown file to write.
        exclude: Patterns of image files to leave out.
        num_bootstrap: Resamples for the intervals.
        seed: Seed of the resamples and of the imitation.

    Returns:
        What the JSON holds.

    Raises:
        ValueError: If there are not as many of each, a file is bad, or ``out`` is no ``.md``; before anything is
            written.
    """
    out = Path(out)
    if out.suffix != '.md':
        raise ValueError(f'out takes a .md file, got {out}')
    if not len(ann_files) == len(datasets) == len(detections):
        raise ValueError(
            'takes as many datasets and detections as annotation files, got '
            f'{len(datasets)} and {len(detections)} for {len(ann_files)}'
        )
    if num_bootstrap < 0:
        raise ValueError(f'num_bootstrap takes at least 0, got {num_bootstrap}')
    parts = [
        read_detected_people(ann_file, results, dataset, exclude)
        for ann_file, results, dataset in zip(ann_files, detections, datasets, strict=True)
    ]
    people = join_people(parts)
    report = dict(sources=[_source(part) for part in parts], exclude=list(exclude), people=len(people))
    report |= measure_errors(people, num_bootstrap, seed)
    report |= _imitation(people, seed) | dict(model=asdict(MEASURED), published_average_recall=_PUBLISHED_RECALL)
    for path, text in ((out.with_suffix('.json'), json.dumps(report, indent=2)), (out, _page(report))):
        with whole_file(path) as temporary:
            temporary.write_text(text.rstrip() + '\n', encoding='utf-8')
    return report


def _source(people: DetectedPeople) -> dict:
    errors, lost = error_lengths(people)
    return dict(
        dataset=str(people.source[0]), people=len(people), joints=int(people.known.sum()), lost=int(lost.sum()),
        median_error=float(np.median(errors[people.known])),
    )  # fmt: skip


def _imitation(people: DetectedPeople, seed: int) -> dict:
    """Errors and average recall of the people who were found, really and by the imitation at several levels."""
    found = people[~error_lengths(people)[1]]

    def row(name: str, of: DetectedPeople) -> dict:
        errors = error_lengths(of)[0][of.known]
        return dict(
            detector=name, quantiles=np.quantile(errors, _QUANTILES).tolist(),
            average_recall=float(average_recall(of).mean()),
        )  # fmt: skip

    rows = [row('measured', found)]
    for level in _LEVELS:
        rows.append(row(f'imitated, level {level:g}', imitate_people(found, replace(MEASURED, level=level), seed=seed)))
    return dict(imitation=rows)


def _table(head: Sequence[str], rows: Sequence[Sequence], left: int = 1) -> str:
    lines = [head, ['---'] * left + ['---:'] * (len(head) - left), *rows]
    return '\n'.join('| ' + ' | '.join(str(cell) for cell in line) + ' |' for line in lines)


def _interval(measure: dict, digits: int) -> str:
    if 'interval' not in measure:
        return ''
    return ' … '.join(f'{value:.{digits}f}' for value in measure['interval'])


def _page(report: dict) -> str:
    measures, model = report['measures'], DetectorNoise(**report['model'])
    sources = [
        [s['dataset'], s['people'], s['joints'], s['lost'], f'{s["median_error"]:.3f}'] for s in report['sources']
    ]
    rows = []
    for name, (words, parameter) in _MEASURES.items():
        measure = measures[name]
        given = '' if parameter is None else f'`{parameter}={getattr(model, parameter):g}`'
        rows.append([words, f'{measure["value"]:.3f}', _interval(measure, 3), measure['samples'], given])
    joints = []
    for name in COCO_GROUPS:
        factor, gross = measures[f'factor/{name}'], measures[f'gross/{name}']
        human = OKS_SIGMAS[name] * AREA_PER_SIZE / np.sqrt(2)
        joints.append(
            [name, factor['samples'], f'{factor["value"]:.2f}', _interval(factor, 2),
             f'{factor["value"] * measures["jitter"]["value"] / 2:.3f}', f'{human:.3f}', f'{gross["value"]:.2f}',
             _interval(gross, 2)]
        )  # fmt: skip
    bins = [
        [f'{b["score"][0]:.1f} … {b["score"][1]:.1f}', b['samples'], f'{b["median"]:.3f}', f'{b["core_sigma"]:.3f}',
         f'{b["beyond"]:.0%}'] for b in report['score_bins']
    ]  # fmt: skip
    imitation = [
        [r['detector'], *(f'{q:.3f}' for q in r['quantiles']), f'{r["average_recall"]:.3f}']
        for r in report['imitation']
    ]
    recall = [[name, f'{value:.3f}'] for name, value in report['published_average_recall'].items()]
    return f"""# Errors of a real 2D detector, and their imitation

`DetectorNoise` (`stereopose_mm/datasets/detector_noise.py`) imitates detectors on exact keypoints. Its numbers are not
guessed: a real detector's keypoints were compared with annotations, by

```text
python tools/misc/measure_detector.py ANN [ANN ...] --datasets NAME [NAME ...] --detections FILE [FILE ...] \\
    --out docs/results/detector_noise.md
```

{_summary(report)}

## Sources

{_table(['dataset', 'people', 'joints', 'people lost', 'median error'], sources)}

All lengths are in body sizes: the root mean square distance of a person's annotated keypoints from their centre (some
55 cm on an adult who stands). Intervals are 95 % of a bootstrap over people. The annotators' own errors, and what each
dataset takes for a hip or a shoulder, are in all figures.

## Measured

{_table(['measure', 'value', 'interval', 'samples', 'in the model'], rows)}

## By joint

A joint's deviation per axis is its factor times the person's level. Left and right are taken together, and joints with
few samples are drawn to the mean of all: it weighs as much as ten samples. "Annotators" is the spread of COCO's human
annotators, from the constants of its keypoint similarity (2D, per square root of the person's area; here per axis, the
area's root being {AREA_PER_SIZE:g} body sizes).

{_table(['joint', 'samples', 'factor', 'interval', 'at the median level', 'annotators', 'gross', 'interval'], joints)}

## Scores

{_table(['score', 'joints', 'median error', 'core deviation per axis', 'error beyond 0.3'], bins)}

The imitation draws the score's logit from the line above plus its scatter within a person; and it multiplies or divides
a pair's odds by up to four, more than people differ here, as other detectors are calibrated otherwise.

## The imitation beside the detector

Errors of the people found, and of the imitation on the same people; average recall is COCO's, over OKS 0.50 … 0.95.

{_table(['', *(f'{q:.0%} below' for q in _QUANTILES), 'average recall'], imitation)}

Published average recall on COCO val2017 (MMPose 1.3.2's metafiles), for orientation:

{_table(['detector', 'average recall'], recall)}

The model's levels are uniform below `jitter`, so that it has more very exact people than the detector; medians and
tails agree.

`MEASURED`, the detector-like condition of the evaluation, is the model above at level {model.level:g}, as what was
measured is MoveNet Lightning, a small detector, on hard pictures. At this level the imitation's average recall is that
of the detectors people use. (COCO has smaller people than these pictures, and recall counts the annotators' errors as
the detector's: the level errs on the side of too much noise.) Level 1 is MoveNet Lightning itself.

## Published error rates

Ronchi and Perona ("Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation", ICCV 2017) name the kinds of
error told apart here: jitter, inversion (of left and right), swap (with another person) and miss. They find such errors
in about 25 % of the keypoints of the detectors of the day. PoseFix (Moon et al., CVPR 2019), whose released code draws
them for people with more than ten keypoints, takes per joint: inversion 1 % (face), 3 % (arms), 6 % (legs); miss 2 %
(face), 5 % (shoulders, ankles), 10 % (others); swap 1 %, 6 % and 3 %; jitter 10 … 20 %. Misses and swaps together
are what is called gross here.
"""


def _summary(report: dict) -> str:
    lost = sum(source['lost'] for source in report['sources'])
    excluded = ', '.join(f'`{pattern}`' for pattern in report['exclude'])
    return fill(
        f'It was run on {report["people"]} annotated people, of whom the detector lost {lost} (their keypoints are of '
        'somebody else, or of nobody); these are left out below. '
        + (f'Pictures whose names match {excluded} were not taken. ' if excluded else '')
        + 'With so few people the intervals are wide.',
        width=118,
    )
