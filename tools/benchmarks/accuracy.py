# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Train configs on identical pairs with identical budgets and several seeds, and tabulate their accuracy.

Runs that are already there are not repeated, and an interrupted one continues from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

CONFIGS = (
    'configs/stereo_lift/simplebaseline3d_res512_1xb1024-20e_mocap.py',
    'configs/stereo_lift/stereo-lift_res512_1xb1024-20e_mocap.py',
)
METRICS = ('MPJPE', 'P-MPJPE', 'N-MPJPE')


def run(config: str, seed: int, epochs: int, options: dict, folder: Path) -> dict[str, float]:
    """Train and test one config with one seed, unless its metrics are there."""
    from mmengine.config import Config

    from stereopose_mm.engine import test, train

    metrics_file = folder / 'metrics.json'
    if metrics_file.exists():
        return json.loads(metrics_file.read_text(encoding='utf-8'))
    cfg = Config.fromfile(config)
    iters = -(-cfg.train_dataloader.dataset.num_pairs // cfg.train_dataloader.batch_size)
    overrides = {
        'randomness.seed': seed,
        'train_dataloader.dataset.seed': seed,
        'train_cfg.max_epochs': epochs,
        'param_scheduler.0.total_steps': epochs * iters,
        **options,
    }
    train(config, work_dir=str(folder), resume='auto', no_validate=True, cfg_options=overrides)
    checkpoint = folder / f'epoch_{epochs}.pth'
    return test(config, str(checkpoint), work_dir=str(folder), out=str(metrics_file), cfg_options=options)


def main() -> None:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='*', default=CONFIGS, help='config files; the first is the reference')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, default=4, help="of each config's pairs")
    parser.add_argument('--work-dir', default='work_dirs/accuracy')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='overrides for every run')
    parser.add_argument('--out', help='Markdown file for the table; the figures go beside it as JSON')
    args = parser.parse_args()
    runs = {
        Path(config).stem: [
            run(config, seed, args.epochs, args.cfg_options, Path(args.work_dir, Path(config).stem, f'seed{seed}'))
            for seed in args.seeds
        ]
        for config in args.configs
    }
    reference = next(iter(runs))
    lines = [f'| config | {" | ".join(f"{m}, mm" for m in METRICS)} |', '| --- |' + ' ---: |' * len(METRICS)]
    for name, results in runs.items():
        cells = []
        for metric in METRICS:
            values = np.array([r[metric] for r in results])
            base = np.mean([r[metric] for r in runs[reference]])
            gain = '' if name == reference else f' ({100 * (values.mean() / base - 1):+.1f} %)'
            cells.append(f'{values.mean():.1f} ± {values.std(ddof=len(values) > 1):.1f}{gain}')
        lines.append(f'| {name} | {" | ".join(cells)} |')
    table = '\n'.join(lines)
    print(table)
    if args.out:
        out = Path(args.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(table + '\n', encoding='utf-8')
        out.with_suffix('.json').write_text(json.dumps(runs, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
