# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import torch

TWO_PROCESSES = """
import atexit
import sys
from pathlib import Path

import stereopose_mm
import torch
from mmengine import dist
from mmengine.model import BaseModel
from mmengine.runner import Runner



@atexit.register
def note_that_the_group_is_left():  # registered before init_dist, so it runs after what that registers
    if not torch.distributed.is_initialized():
        Path(sys.argv[1], f'left-{rank}').touch()


dist.init_dist('pytorch', backend='gloo')
rank = dist.get_rank()
total = torch.tensor([float(rank + 1)])
dist.all_reduce(total)
assert dist.get_world_size() == 2 and total.item() == 3.0, total


class Point(BaseModel):
    def __init__(self):
        super().__init__()
        self.position = torch.nn.Parameter(torch.zeros(1))

    def forward(self, target, mode):
        return {'loss': (self.position - target).square().mean()}


runner = Runner(
    model=Point(),
    work_dir=sys.argv[1],
    train_dataloader=dict(
        batch_size=1,
        dataset=[{'target': torch.tensor(0.0)}, {'target': torch.tensor(1.0)}],
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    ),
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5)),
    launcher='pytorch',
    env_cfg=dict(dist_cfg=dict(backend='gloo')),
    log_level='ERROR',
)
runner.train()
# Gradients are 0 on one process and -2 on the other: averaged, a step of 0.5.
position = runner.model.module.position.item()
assert position == 0.5, position
Path(sys.argv[1], f'done-{rank}').touch()
"""


def test_two_processes_without_a_gpu(tmp_path, project_root):
    script = tmp_path / 'run.py'
    script.write_text(TWO_PROCESSES)
    environment = {
        **os.environ,
        'CUDA_VISIBLE_DEVICES': '',
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': str(project_root),
    }
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    done = subprocess.run(
        [*launcher, str(script), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'done-0').exists() and (tmp_path / 'done-1').exists()
    assert (tmp_path / 'left-0').exists() and (tmp_path / 'left-1').exists()


def test_launcher_leaves_other_backends_to_mmengine(monkeypatch):
    from mmengine.dist import utils

    import stereopose_mm.compat

    stereopose_mm.compat.apply()
    calls = []
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(torch.cuda, 'set_device', calls.append)
    monkeypatch.setattr(utils.torch_dist, 'init_process_group', lambda **options: None)
    utils._init_dist_pytorch('nccl')
    assert calls == [0]
