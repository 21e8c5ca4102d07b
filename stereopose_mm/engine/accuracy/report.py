# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark's page: every number in it is one of the results, which the JSON file beside it has in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .plots import column_titles

_MEASURES = {
    'stature': 'length along the bones, foot to head top, m',
    'leg_to_trunk': 'leg (thigh, shin) over trunk',
    'arm_to_leg': 'arm (upper arm, forearm) over leg',
}
_NORMAL_WITHIN = dict(within_1=68.3, within_2=95.0)


def page(results: dict) -> str:
    """The page.

    Args:
        results: The benchmark's, as in its JSON file.

    Returns:
        Markdown.
    """
    parts = [_head(results), _models(results)]
    groups = dict.fromkeys(condition['group'] for condition in results['conditions'].values())
    parts += [_group(results, group) for group in groups]
    parts += [_people(results), _pose_distance(results), _oracles(results), _coverage(results), _real(results)]
    if results['left_out']:
        reasons = '\n'.join(f'- {name}: {reason}.' for name, reason in results['left_out'].items())
        parts.append(f'## Left out\n\n{reasons}\n')
    return '\n'.join(part for part in parts if part)


def number(values: Sequence[float], digits: int = 1) -> str:
    """Mean, and where there is more than one value ± their standard deviation."""
    if not len(values):
        return '–'
    text = f'{np.mean(values):.{digits}f}'
    return text if len(values) == 1 else f'{text} ± {np.std(values, ddof=1):.{digits}f}'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ['| ' + ' | '.join(head) + ' |', '| --- |' + ' ---: |' * (len(head) - 1)]
    return '\n'.join(lines + ['| ' + ' | '.join(row) + ' |' for row in rows]) + '\n'


def _head(results: dict) -> str:
    settings = results['settings']
    trained = {name: m for name, m in results['models'].items() if any('seed' in run for run in m['runs'])}
    loaded = {name: m for name, m in results['models'].items() if name not in trained}
    text = f'By the command below; {settings["num_test"]:,} test pairs a condition (a quarter for kinds of clips). '
    if trained:
        seeds = len(settings['seeds'])
        text += (
            f'Each network is trained on {settings["pairs"]:,} pairs, with {seeds} seed{"s" * (seeds > 1)}'
            f'{": mean ± standard deviation" * (seeds > 1)}. '
        )
        own = {m['own_pairs'] for m in trained.values()}
        short = [o for o in own if o > settings['pairs']]
        if short:
            share = 100 * settings['pairs'] / max(short)
            text += (
                f'**Not converged**: this is {share:.2g} % of the {max(short):,} pairs that the configs train on; '
                'their schedules are shortened to it. '
            )
        differing = {}
        first = next(iter(trained.values()))
        for model in trained.values():
            keys = [
                k
                for k in {**first['training'], **model['training']}
                if first['training'].get(k) != model['training'].get(k)
            ]
            if keys:
                differing.setdefault(', '.join(f'`{key}`' for key in keys), []).append(model['title'])
        text += (
            'All train on the same pairs. '
            if not differing
            else ''.join(
                f'Pairs are the same for all but {" and ".join(titles)}, whose config differs in {keys}. '
                for keys, titles in differing.items()
            )
        )
    if loaded:
        text += f'Loaded, not trained here: {", ".join(m["title"] for m in loaded.values())}. '
    text += 'Errors in mm; after the search where a network has one. In parentheses, against the first column.'
    return f'# Accuracy\n\n{text}\n\n```bash\n{settings["command"]}\n```\n'


def _models(results: dict) -> str:
    rows = []
    for model in results['models'].values():
        runs = model['runs']
        seconds = [run['seconds'] for run in runs if 'seconds' in run]
        rows.append([
            f'**{model["title"]}**: {model["explanation"]}', f'`{model["config"]}`',
            f'{model["parameters"] / 1e6:.1f} M',
            model['keypoints'], 'yes' if model['search'] else 'no',
            f'{np.mean(seconds):.0f} s' if seconds else 'loaded',
        ])  # fmt: skip
    text = (
        'A network without scores among its inputs (SimpleBaseline3D, VideoPose3D, the pixel view) gets a zero for '
        "each coordinate of a missing joint: the picture's middle in screen coordinates, the joint's mean place "
        'relative to the root in the pixel view. It is not told how far to trust a joint.'
    )
    head = ['network', 'config', 'parameters', '2D', 'search', 'training time']
    return f'## Networks\n\n{_table(head, rows)}\n{text}\n'


def _cell(values: Sequence[float], base: Sequence[float] | None) -> str:
    text = number(values)
    return text if base is None else f'{text} ({100 * (np.mean(values) / np.mean(base) - 1):+.0f} %)'.replace('-', '−')


def _columns(results: dict, names: Sequence[str]) -> dict[str, str]:
    """Columns that have a number under all of these conditions."""
    titles = column_titles(results)
    return {key: title for key, title in titles.items() if any(key in results['errors'][name] for name in names)}


def _group(results: dict, group: str) -> str:
    conditions = {name: c for name, c in results['conditions'].items() if c['group'] == group}
    columns = _columns(results, list(conditions))
    first = next(iter(columns))
    parts = [f'## {group}\n']
    for error in ('MPJPE', 'P-MPJPE'):
        rows = []
        for name, condition in conditions.items():
            by_column = results['errors'][name]
            base = by_column.get(first, {}).get(error)
            rows.append(
                [condition['title']]
                + [
                    _cell(by_column[key][error], None if key == first else base) if key in by_column else '–'
                    for key in columns
                ]
            )
        parts.append(_table([error, *columns.values()], rows))
    explained = ''.join(f'- {c["title"]}: {c["explanation"]}\n' for c in conditions.values())
    parts.append(explained)
    if group == 'Kinds of clips':
        parts.append(_postures(conditions))
    failed = _failures(results, conditions)
    if failed:
        parts.append(failed)
    return '\n'.join(parts)


def _postures(conditions: dict) -> str:
    rows = [
        [c['title'], str(c['pairs']), f'{100 * c["sitting"]:.1f} %', f'{100 * c["lying"]:.1f} %']
        for c in conditions.values()
    ]
    text = (
        '\\* Poses of subjects that are in training: new are only bodies and cameras, so that these rows flatter. '
        'The held-aside subjects neither sit on anything, nor are on the floor, nor climb, nor do acrobatics: errors '
        'on such poses that nobody trained on are **not measured** here. Of each row, how many poses sit (both thighs '
        '50° or more from hanging) and lie (trunk 60° or more from upright):\n'
    )
    return f'{text}\n{_table(["clips", "pairs", "sitting", "lying"], rows)}'


def _failures(results: dict, conditions: dict) -> str:
    counts = [
        f'{results["models"][key]["title"]}, {condition["title"]}: {sum(values)} of {condition["pairs"] * len(values)}'
        for name, condition in conditions.items()
        for key, values in results['failed'][name].items()
        if sum(values)
    ]
    return (
        f'Poses for which the search found no depth, whose coarse pose counts: {"; ".join(counts)}.\n' if counts else ''
    )


def _binned(results: dict, binned: dict, label: str) -> str:
    titles = column_titles(results)
    keys = [key for key in titles if key in binned['errors']]
    edges = binned['edges']
    rows = [
        [f'{edges[i]:.3g} … {edges[i + 1]:.3g}', str(binned['pairs'][i])]
        + [number([values[i] for values in binned['errors'][key]]) for key in keys]
        for i in range(len(edges) - 1)
    ]
    return _table([label, 'pairs', *(titles[key] for key in keys)], rows)


def _image(results: dict, name: str, text: str) -> str:
    return ''.join(f'![{text}]({plot})\n' for plot in results['plots'] if plot.endswith(f'_{name}.png'))


def _people(results: dict) -> str:
    if 'proportions' not in results:
        return ''
    titles = column_titles(results)
    parts = ["## Error against proportions\n\nP-MPJPE, mm, on Anny's bodies, in bins of as many pairs each.\n"]
    parts += [_image(results, 'proportions', 'P-MPJPE against stature, leg to trunk and arm to leg')]
    parts += [_binned(results, binned, _MEASURES[measure]) for measure, binned in results['proportions'].items()]
    if results.get('people'):
        keys = [key for key in titles if key in next(iter(results['people'].values()))['errors']]
        rows = [
            [who, str(p['pairs']), f'{p["stature"]:.2f} m', f'{p["leg_to_trunk"]:.2f}']
            + [number(p['errors'][key]) for key in keys]
            for who, p in results['people'].items()
        ]
        parts.append(_table(['who', 'pairs', 'mean length', 'leg over trunk', *(titles[key] for key in keys)], rows))
        parts.append(
            "Women and men: adults in the outer thirds of Anny's scale from one to the other; children: younger than "
            'its young adult (age below 2/3).\n'
        )
    return '\n'.join(parts)


def _pose_distance(results: dict) -> str:
    if 'pose_distance' not in results:
        return ''
    binned = results['pose_distance']
    text = (
        'P-MPJPE, mm, of the reference, by how far the recorded pose is from the nearest of the '
        f'{binned["training_poses"]:,} training poses or their mirror images: mean joint distance in mm, both at mean '
        'lengths and turned about the vertical until their hips face one way. What joint-space augmentation adds in '
        'training is not among them.'
    )
    image = _image(results, 'pose_distance', 'P-MPJPE against the distance from the training poses')
    return f'## Error against distance from the training poses\n\n{text}\n\n{image}\n{_binned(results, binned, "mm")}'


def _oracles(results: dict) -> str:
    if not results.get('oracles'):
        return ''
    parts = [
        '## What a picture does not tell\n\nErrors in mm, of the reference, when the lifter is told what it cannot '
        "see: the body's mean bone length (the coarse pose is scaled to it before the search), the root's true depth "
        '(in place of the one that the search finds), or both. N-MPJPE is after the best scale for each pose.\n'
    ]
    rows = []
    for name, told in results['oracles'].items():
        rows += [
            [f'{results["models"][name]["title"]}, told {what}']
            + [number(errors[error]) for error in ('MPJPE', 'N-MPJPE', 'P-MPJPE')]
            for what, errors in told.items()
        ]
    parts.append(_table(['network', 'MPJPE', 'N-MPJPE', 'P-MPJPE'], rows))
    return '\n'.join(parts)


def _coverage(results: dict) -> str:
    if not results.get('coverage'):
        return ''
    rows = []
    for condition, by_model in results['coverage'].items():
        for name, runs in by_model.items():
            title = f'{results["models"][name]["title"]}, {results["conditions"][condition]["title"]}'
            if results['conditions'][condition]['group'].startswith('COCO'):
                title += ' (COCO-17)'
            rows += [
                [f'{title}: {group}'] + [number([100 * run[group][key] for run in runs]) for key in _NORMAL_WITHIN]
                for group in runs[0]
            ]
    text = (
        "Share of joints' depth errors (relative to the root, along the line of sight to it, before the search) within "
        'one and 1.96 of the standard deviations that the lifter tells, in %. A normal distribution has 68.3 and 95.0.'
    )
    return f'## Uncertainty\n\n{text}\n\n{_table(["network, condition: joints", "within 1", "within 1.96"], rows)}'


def _real(results: dict) -> str:
    if not results.get('real'):
        return ''
    titles = column_titles(results)
    keys = [key for key in titles if any(key in frame['errors'] for frame in results['real'])]

    def cell(errors: dict, key: str) -> str:
        return ' / '.join(number(errors[key][error]) for error in ('MPJPE', 'P-MPJPE')) if key in errors else '–'

    rows = [
        [f'{frame["frame"]}, {frame["keypoints"]}', *(cell(frame['errors'], key) for key in keys)]
        for frame in results['real']
    ]
    text = (
        'MPJPE / P-MPJPE, mm. A few frames prove nothing about accuracy; they show that cameras, joints and units are '
        'right. Nothing was chosen by them.'
    )
    return f'## Real frames\n\n{text}\n\n{_table(["frame, 2D", *(titles[key] for key in keys)], rows)}'
