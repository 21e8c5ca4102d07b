# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""How good labels are before and after refinement, and how well their quality tells it.

Labels are made of recorded poses of held-aside subjects, seen with the errors of annotators and detectors, so that
their true errors are known. With --fit the calibration is made anew first, on the other subjects.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
SETS = {'coco': 'COCO-17', 'h36m': 'H36M-17'}
NUM_FIT = 24576
# A record is made worse where its error grows by more than this share.
WORSE = 0.1


def measure(keypoint_set: str, num: int, seeds: Sequence[int], files: dict, models: Path) -> dict:
    """Everything about the labels of one shipped lifter."""
    import numpy as np

    from stereopose_mm.apis import init_lifter
    from stereopose_mm.labeling.calibration import (
        POPULATION,
        lift_population,
        load_label_model,
        make_population,
        measure_labels,
    )
    from stereopose_mm.labeling.judgement import judge_labels
    from stereopose_mm.labeling.quality import GateThresholds

    lifter, model = init_lifter(skeleton=keypoint_set), load_label_model(keypoint_set, models)
    runs, seconds = [], 0.0
    for seed in seeds:
        people = make_population(lifter.cfg, True, num, seed, files[keypoint_set])
        start = time.process_time()
        lifted = lift_population(lifter, people)
        labels = measure_labels(lifter, people, lifted, model.body)
        told = judge_labels(
            lifter, model, people.keypoints.numpy(), people.scores.numpy(), people.camera, lifted, labels.parts,
            GateThresholds(),
        )  # fmt: skip
        seconds += time.process_time() - start
        runs.append((people, labels, told.quality, told.reason))
    kinds = np.concatenate([people.kind[labels.valid] for people, labels, _, _ in runs])
    quality, reasons = (np.concatenate([run[i][run[1].valid] for run in runs]) for i in (2, 3))
    table = per_label(runs)
    columns = {
        kind: {name: float(values[kinds == kind].mean()) for name, values in table.items()} for kind in POPULATION
    }
    columns['all'] = {name: float(values.mean()) for name, values in table.items()}
    error, ranks = table['MPJPE'], [ranking(labels, q) for _, labels, q, _ in runs]
    every = np.concatenate([run[3] for run in runs])
    return dict(
        labels=len(every),
        fitted=dict(model.fitted),
        min_quality=model.quality.min_quality,
        tolerance_mm=model.quality.tolerance_mm,
        errors=columns,
        spearman={name: [rank[name] for rank in ranks] for name in ranks[0]},
        kept={kind: gated(error, reasons, kinds == kind) for kind in POPULATION},
        gate=gated(error, reasons, kinds != ''),
        sides={kind: doubted(reasons[kinds == kind]) for kind in POPULATION},
        reasons={reason: int((every == reason).sum()) for reason in np.unique(every) if reason},
        shares=kept_errors(error, quality),
        bins=quality_bins(error, quality, model.quality.tolerance_mm),
        records_per_second=len(every) / seconds,
    )


def per_label(runs: list) -> dict:
    """Errors of all labels that could be lifted, by name, ``(N,)`` each."""
    import numpy as np
    import torch

    from stereopose_mm.geometry import H36M_17
    from stereopose_mm.labeling.refine import bone_lengths

    flip = [H36M_17.flip_indices[child] - 1 for child in range(1, 17)]
    columns = {}

    def add(name: str, values) -> None:
        columns.setdefault(name, []).append(np.asarray(values))

    for people, labels, _, _ in runs:
        good = labels.valid
        true = bone_lengths(people.truth[good].double())
        for prefix, poses in (('searched ', labels.searched), ('', labels.refined)):
            for name in ('MPJPE', 'P-MPJPE'):
                add(prefix + name, labels.errors[prefix + name][good])
            bones = bone_lengths(torch.from_numpy(poses[good]).double())
            add(prefix + 'bones', 1000 * (bones - true).abs().mean(1))
            add(prefix + 'asymmetry', 1000 * (bones - bones[:, flip]).abs().mean(1) * 16 / 12)
        before, after = (labels.errors[name][good] for name in ('searched MPJPE', 'MPJPE'))
        add('better', after < before)
        add('worse', after > (1 + WORSE) * before)
    return {name: np.concatenate(values) for name, values in columns.items()}


def ranking(labels, quality) -> dict[str, float]:
    """Spearman's correlation of quality and errors."""
    from scipy.stats import spearmanr

    return {
        name: float(spearmanr(quality[labels.valid], labels.errors[name][labels.valid]).statistic)
        for name in ('MPJPE', 'P-MPJPE')
    }


def gated(error, reasons, of) -> dict[str, float]:
    """What the gate keeps of some labels, and what it would if it knew their errors."""
    import numpy as np

    error, kept = error[of], reasons[of] == ''
    best = np.sort(error)[: max(1, round(0.8 * len(error)))]
    return dict(
        kept=float(kept.mean()),
        mean=float(error.mean()),
        mean_kept=float(error[kept].mean()) if kept.any() else None,
        cut=float(1 - error[kept].mean() / error.mean()) if kept.any() else None,
        oracle_cut_at_80=float(1 - best.mean() / error.mean()),
    )


def doubted(reasons) -> float:
    """Share of the labels that nothing else rejects whose left and right are thought to be confused."""
    confused = (reasons == 'left and right probably confused').sum()
    return float(confused / max(1, confused + (reasons == '').sum()))


def kept_errors(error, quality) -> list[dict[str, float]]:
    """Mean error of the best labels by quality, and by the error itself."""
    import numpy as np

    by_quality, by_error = error[np.argsort(-quality, kind='stable')], np.sort(error)
    counts = {share: max(1, round(share * len(error))) for share in SHARES}
    return [
        dict(
            share=share,
            mean=float(by_quality[:count].mean()),
            cut=float(1 - by_quality[:count].mean() / error.mean()),
            oracle=float(by_error[:count].mean()),
            oracle_cut=float(1 - by_error[:count].mean() / error.mean()),
        )
        for share, count in counts.items()
    ]


def quality_bins(error, quality, tolerance: float) -> list[dict[str, float]]:
    """Errors of ten parts of the labels, from the worst by quality to the best."""
    import numpy as np

    rows = []
    for part in np.array_split(np.argsort(quality, kind='stable'), 10):
        low, median, high = np.quantile(error[part], (0.25, 0.5, 0.75))
        rows.append(
            dict(
                quality=float(quality[part].mean()),
                quartiles=[float(low), float(median), float(high)],
                below_tolerance=float((error[part] < tolerance).mean()),
            )
        )
    return rows


def plot(results: dict, path: Path) -> None:
    """Error by quality, error of what is kept, and what quality promises against what is."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from stereopose_mm.evaluation.plots import COLOURS
    from stereopose_mm.files import whole_file

    style = {
        'font.size': 8, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True,
        'axes.axisbelow': True, 'grid.color': '#dddddd', 'grid.linewidth': 0.5, 'legend.frameon': False,
        'legend.fontsize': 7, 'savefig.dpi': 150,
    }  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(10.5, 3.3), layout='constrained')
        errors, kept, promise = figure.subplots(1, 3)
        for (name, result), colour in zip(results['sets'].items(), COLOURS, strict=False):
            bins, title = result['bins'], f'{SETS[name]} lifter'
            x = [row['quality'] for row in bins]
            low, median, high = zip(*(row['quartiles'] for row in bins), strict=True)
            errors.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            errors.plot(x, median, 'o-', color=colour, markersize=3, label=title)
            shares = [100 * row['share'] for row in result['shares']]
            kept.plot(shares, [row['mean'] for row in result['shares']], 'o-', color=colour, markersize=3, label=title)
            oracle = [row['oracle'] for row in result['shares']]
            kept.plot(shares, oracle, '--', color=colour, linewidth=1, label='… if errors were known')
            promise.plot(x, [row['below_tolerance'] for row in bins], 'o-', color=colour, markersize=3, label=title)
        tolerance = result['tolerance_mm']
        errors.set(xlabel='quality', ylabel='true MPJPE, mm: median and quartiles', ylim=(0, None), xlim=(0, 1))
        kept.set(xlabel='labels kept, %', ylabel='mean true MPJPE of those kept, mm', ylim=(0, None))
        kept.invert_xaxis()
        promise.plot([0, 1], [0, 1], color='#888888', linewidth=0.8, linestyle=':', label='as promised')
        promise.set(xlabel='quality', ylabel=f'share with an MPJPE below {tolerance:g} mm', xlim=(0, 1), ylim=(0, 1))
        errors.legend()
        kept.legend(loc='lower left')
        promise.legend()
        with whole_file(path) as file:
            figure.savefig(file)


def page(results: dict, picture: str) -> str:
    """The results as Markdown."""
    from stereopose_mm.labeling.calibration import POPULATION

    sets = results['sets']
    first = next(iter(sets.values()))
    lines = [
        '# Quality of labels',
        '',
        f'{first["labels"]:,} labels a lifter, of recorded poses of held-aside subjects, whose 2D is made wrong as it '
        'is in an unsorted set. All errors are true ones, in mm. By',
        '',
        '```text',
        results['command'],
        '```',
        '',
        '| kind of 2D | share | |',
        '| --- | ---: | --- |',
        *(f'| {name} | {100 * kind.share:.0f} % | {kind.explanation} |' for name, kind in POPULATION.items()),
        '',
        'Of all but the exact kind half the cameras are told with a focal length of 0.6 to 1.6 times the true one. The '
        'shares are an assumption: no annotated set of its size could be counted here. What the gate gains depends on '
        'them, so that each kind is told by itself too.',
        '',
        '## Refinement',
        '',
        'Before (the plain search) → after. Nothing moves in the picture. Bones: mean error of their lengths; '
        'asymmetry: mean difference of left and right. A label is worse where its MPJPE grows by more than a tenth.',
    ]
    for name, result in sets.items():
        lines += [
            '', f'### {SETS[name]} lifter', '', '| kind of 2D | MPJPE | P-MPJPE | bones | asymmetry | better | worse |',
            '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
        ]  # fmt: skip
        for kind, row in result['errors'].items():
            cells = [
                f'{row["searched " + key]:.1f} → {row[key]:.1f}' for key in ('MPJPE', 'P-MPJPE', 'bones', 'asymmetry')
            ]
            lines.append(f'| {" | ".join([kind, *cells])} | {percent(row["better"])} | {percent(row["worse"])} |')
    lines += ['', '## Quality', '', f'![Error by quality, error of the labels kept, reliability]({picture})', '']
    lines += [
        f'Quality is the probability that a label has an MPJPE (relative to the root) below '
        f'{first["tolerance_mm"]:g} mm. Rank correlation (Spearman) with the true error, by seed:',
        '', '| lifter | MPJPE | P-MPJPE |', '| --- | ---: | ---: |',
    ]  # fmt: skip
    for name, result in sets.items():
        cells = [' '.join(f'{v:.3f}' for v in result['spearman'][key]) for key in ('MPJPE', 'P-MPJPE')]
        lines.append(f'| {SETS[name]} | {" | ".join(cells)} |')
    lines += [
        '', '## Gate', '',
        'How much the mean error of what is kept is below that of all. In brackets: if the true errors were known, '
        'which no gate can do better than.',
        '', '| labels kept | ' + ' | '.join(f'{SETS[name]} lifter' for name in sets) + ' |',
        '| --- |' + ' ---: |' * len(sets),
    ]  # fmt: skip
    for i, share in enumerate(SHARES[1:], 1):
        rows = [result['shares'][i] for result in sets.values()]
        cells = [f'{r["mean"]:.1f} mm, {100 * r["cut"]:.1f} % lower ({100 * r["oracle_cut"]:.1f} %)' for r in rows]
        lines.append(f'| {percent(share)} | {" | ".join(cells)} |')
    for name, result in sets.items():
        lines += [
            '', f'The gate at its defaults, {SETS[name]} lifter (quality of at least {result["min_quality"]:.3f}):', '',
            '| kind of 2D | kept | mean of all | of those kept | lower by | at 80 %, if errors were known |',
            '| --- | ---: | ---: | ---: | ---: | ---: |',
        ]  # fmt: skip
        for kind, row in {**result['kept'], 'all': result['gate']}.items():
            kept = 'none | ' if row['cut'] is None else f'{row["mean_kept"]:.1f} | {100 * row["cut"]:.1f} %'
            lines.append(
                f'| {kind} | {percent(row["kept"])} | {row["mean"]:.1f} | {kept} | {percent(row["oracle_cut_at_80"])} |'
            )
        lines += ['', '| rejected because | labels |', '| --- | ---: |']
        lines += [f'| {reason} | {count} |' for reason, count in result['reasons'].items()]
    lines += [
        '', '## Left and right', '',
        'Of the labels that nothing else rejects, how many are rejected since left and right of the legs, the arms or '
        'all are probably confused. The mistaken are; the others are not, but for the few that detectors confuse. '
        'A whole body seen from behind in place of the front can hardly be told.', '',
        '| kind of 2D | ' + ' | '.join(f'{SETS[name]} lifter' for name in sets) + ' |',
        '| --- |' + ' ---: |' * len(sets),
    ]  # fmt: skip
    for kind in POPULATION:
        cells = ' | '.join(f'{100 * result["sides"][kind]:.1f} %' for result in sets.values())
        lines.append(f'| {kind} | {cells} |')
    rates = ', '.join(f'{result["records_per_second"]:,.0f} ({SETS[name]})' for name, result in sets.items())
    lines += [
        '', '## Speed', '',
        f'Lifted, refined, scored and compared with the truth, one thread: {rates} labels a second of processor time.',
        '', '## Calibration', '',
        'Fitted to other subjects than those above, by the same command with `--fit`:',
        '', '| lifter | labels | seed |', '| --- | ---: | ---: |',
        *(f'| {SETS[n]} | {r["fitted"]["labels"]:,} | {r["fitted"]["seed"]} |' for n, r in sets.items()),
    ]  # fmt: skip
    return '\n'.join(lines) + '\n'


def percent(share: float) -> str:
    return f'{100 * share:.0f} %'


def fit(num: int, files: dict, models: Path, seed: int = 1000) -> None:
    """Calibrate the labels of both shipped lifters."""
    from stereopose_mm.apis import init_lifter
    from stereopose_mm.labeling.calibration import fit_label_model, make_population, save_label_models

    fitted = []
    for keypoint_set in SETS:
        lifter = init_lifter(skeleton=keypoint_set)
        people = make_population(lifter.cfg, False, num, seed, files[keypoint_set])
        fitted.append(fit_label_model(lifter, people, dict(labels=num, seed=seed, by='tools/benchmarks/label_quality')))
    save_label_models(fitted, models)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, help='page, FILE.md; FILE.json and FILE.png go beside it')
    parser.add_argument('--num', type=int, default=16384, help='labels a seed and lifter (default: %(default)s)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='(default: 0 1 2)')
    parser.add_argument('--fit', action='store_true', help='calibrate first, and write the calibration')
    parser.add_argument('--num-fit', type=int, default=NUM_FIT, help='labels to calibrate with (default: %(default)s)')
    parser.add_argument('--models', help="calibration, JSON (default: the package's own)")
    parser.add_argument('--ann-file', default='data/mocap/mocap.npz', help='(default: %(default)s)')
    parser.add_argument('--bodies-file', default='data/mocap/bodies.npz', help='(default: %(default)s)')
    args = parser.parse_args()
    if not args.out.endswith('.md'):
        parser.error(f'--out is {args.out}; takes a file name that ends in .md')
    return args


def main() -> None:
    args = parse_args()
    import torch

    from stereopose_mm.files import whole_file
    from stereopose_mm.labeling.calibration import MODEL_FILE

    torch.set_num_threads(1)
    files = dict(coco=args.bodies_file, h36m=args.ann_file)
    models, out = Path(args.models or MODEL_FILE), Path(args.out)
    try:
        if args.fit:
            fit(args.num_fit, files, models)
        command = shlex.join(['python', 'tools/benchmarks/label_quality.py', *sys.argv[1:]])
        results = dict(command=command, seeds=args.seeds, sets={})
        for keypoint_set in SETS:
            results['sets'][keypoint_set] = measure(keypoint_set, args.num, args.seeds, files, models)
        out.parent.mkdir(parents=True, exist_ok=True)
        plot(results, out.with_suffix('.png'))
        texts = {'.json': json.dumps(results, indent=1) + '\n', '.md': page(results, out.with_suffix('.png').name)}
        for suffix, text in texts.items():
            with whole_file(out.with_suffix(suffix)) as file:
                file.write_text(text, encoding='utf-8')
    except (ValueError, OSError) as error:
        print(f'label_quality: error: {error}', file=sys.stderr)
        sys.exit(2)
    for name, result in results['sets'].items():
        row = result['shares'][SHARES.index(0.8)]
        print(
            f'{SETS[name]}: Spearman {result["spearman"]["MPJPE"]}, at 80 % kept the mean error falls by '
            f'{100 * row["cut"]:.1f} % (at most {100 * row["oracle_cut"]:.1f} %)'
        )


if __name__ == '__main__':
    main()
