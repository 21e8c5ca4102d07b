# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.optim import OneCycleLR
from mmengine.runner import Runner, load_checkpoint
from packaging.version import Version
from torch import nn
from torch.utils.data import Dataset

from stereopose_mm.compat import apply, checkpoints

apply()
pytestmark = pytest.mark.skipif(
    Version(torch.__version__) < Version('2.6'), reason='this torch unpickles anything by default'
)


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        error = (self.linear(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        return {'loss': error} if mode == 'loss' else [error]


class Points(Dataset):
    metainfo = {  # what MMPose's datasets keep there
        'dataset_name': 'points',
        'sigmas': np.array([0.026, 0.025], dtype=np.float32),
        'flip_indices': [1, 0],
        'names': np.array(['left', 'right']),
        'upper_body_ids': {0, 1},
        'used': np.array([True, False]),
        'ids': np.arange(2, dtype=np.uint8),
    }

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {'inputs': torch.tensor([index / 8, 1 - index / 4])}


class MeanError(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(float(data_samples[0]))

    def compute_metrics(self, results):
        return {'error': np.mean(results)}  # a numpy number, which the best score becomes


class StopAt(Hook):
    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise InterruptedError


def make_runner(work_dir, by_epoch, length, resume=False):
    loader = dict(
        batch_size=2,
        dataset=Points(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )

    if by_epoch:
        train = dict(by_epoch=True, max_epochs=length)
    else:
        train = dict(by_epoch=False, max_iters=length, val_interval=2)
    torch.manual_seed(0)  # before the model, which is made ahead of the Runner
    schedule = dict(type='CosineAnnealingLR', T_max=12, by_epoch=by_epoch)
    return Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=[MeanError()],
        train_cfg=train,
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.1), clip_grad=dict(max_norm=1.0)),
        param_scheduler=[dict(type='LinearLR', end=2, by_epoch=by_epoch), schedule],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=by_epoch, save_best='error', rule='less')
        ),
        custom_hooks=[dict(type='EMAHook')],
        randomness=dict(seed=0),
        resume=resume,
        log_level='ERROR',
        experiment_name=f'{work_dir.parent.name}-{work_dir.name}-{length}-{resume}',
    )


@pytest.mark.parametrize('by_epoch', [True, False])
def test_runner_resumes_its_own_checkpoint(tmp_path, by_epoch):
    straight = make_runner(tmp_path / 'straight', by_epoch, 4)
    straight.train()
    cut_short = make_runner(tmp_path / 'resumed', by_epoch, 4)
    cut_short.register_hook(StopAt(iteration=11 if by_epoch else 3))
    with pytest.raises(InterruptedError):
        cut_short.train()
    resumed = make_runner(tmp_path / 'resumed', by_epoch, 4, resume=True)
    resumed.train()

    assert resumed._has_loaded and (resumed.epoch, resumed.iter) == (straight.epoch, straight.iter)
    torch.testing.assert_close(resumed.model.state_dict(), straight.model.state_dict())
    adam, expected = (r.optim_wrapper.state_dict()['state'] for r in (resumed, straight))
    assert len(adam) == 2
    torch.testing.assert_close(adam, expected)
    hubs = (r.message_hub for r in (resumed, straight))
    losses, expected = (hub.get_scalar('train/loss').data[0] for hub in hubs)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    assert len(losses) == (16 if by_epoch else 4)


def test_checkpoint_loads_with_all_that_it_held(tmp_path):
    runner = make_runner(tmp_path, True, 2)
    runner.train()
    loaded = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)

    best = loaded['message_hub']['runtime_info']['best_score']
    assert isinstance(best, np.float64) and best == runner.message_hub.get_info('best_score')
    assert loaded['message_hub']['log_scalars']['train/loss'].mean() > 0
    assert {'optimizer', 'param_schedulers', 'ema_state_dict', 'state_dict'} <= loaded.keys()
    for key, value in Points.metainfo.items():
        np.testing.assert_equal(loaded['meta']['dataset_meta'][key], value)
        assert getattr(loaded['meta']['dataset_meta'][key], 'dtype', 0) == getattr(value, 'dtype', 0)


def test_file_written_under_numpy_2_loads(tmp_path):
    path = tmp_path / 'numpy.pth'
    torch.save({'array': np.arange(3.0), 'scalar': np.float64(2.5)}, path, _use_new_zipfile_serialization=False)
    other = {b'cnumpy.core.multiarray': b'cnumpy._core.multiarray'}
    other.update({value: key for key, value in other.items()})
    content = path.read_bytes()
    (old,) = (name for name in other if name in content)
    path.write_bytes(content.replace(old, other[old]))
    loaded = torch.load(path, weights_only=True)
    np.testing.assert_equal(loaded, {'array': np.arange(3.0), 'scalar': np.float64(2.5)})


class Evil:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def evil_history(evil):
    history = HistoryBuffer([1.0], [1])
    history.note = evil
    return history


HIDING_PLACES = {
    'state_dict': lambda evil: {'state_dict': {'weight': evil}},
    'meta': lambda evil: {'meta': {'dataset_meta': [evil]}, 'state_dict': {}},
    'message_hub': lambda evil: {'message_hub': {'runtime_info': {'best': evil}}, 'state_dict': {}},
    'history': lambda evil: {'message_hub': {'log_scalars': {'loss': evil_history(evil)}}},
}


@pytest.mark.parametrize('place', HIDING_PLACES)
@pytest.mark.parametrize('function', [os.system, eval, exec])
def test_malicious_pickle_is_refused(tmp_path, place, function):
    trace, path = tmp_path / 'trace', tmp_path / 'evil.pth'
    command = {os.system: f'touch {trace}'}.get(function, f'open({str(trace)!r}, "w").close()')
    torch.save(HIDING_PLACES[place](Evil(function, command)), path)
    for load in (torch.load, lambda name: load_checkpoint(Line(), str(name))):
        with pytest.raises(pickle.UnpicklingError):
            load(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file does what it is meant to where it is let
    assert trace.exists()


def test_runner_refuses_to_resume_a_malicious_checkpoint(tmp_path):
    make_runner(tmp_path, True, 2).train()
    path, trace = tmp_path / 'epoch_2.pth', tmp_path / 'trace'
    checkpoint = torch.load(path)
    checkpoint['message_hub']['runtime_info']['best'] = Evil(os.system, f'touch {trace}')
    torch.save(checkpoint, path)
    with pytest.raises(pickle.UnpicklingError):
        make_runner(tmp_path, True, 4, resume=True).train()
    assert not trace.exists()


@pytest.mark.parametrize(
    'owner, name',
    [
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, 'register_statistics'),
        (HistoryBuffer, '__setstate__'),
        (np.ndarray, 'tofile'),
        (torch.Tensor, 'mean'),
    ],
)
def test_getattr_reaches_nothing_but_the_statistics(tmp_path, owner, name):
    torch.save(Evil(getattr, owner, name), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError, match=name):
        torch.load(tmp_path / 'evil.pth')


def test_allow_list_is_what_a_checkpoint_needs_and_no_more():
    functions, types = set(), set()
    for item in checkpoints.safe_globals():
        target, name = item if isinstance(item, tuple) else (item, item.__qualname__)
        (types if isinstance(target, type) else functions).add((target, name))

    # The types hold data, and none is more than MMEngine and numpy put into a checkpoint.
    numbers = {type(np.dtype(code)) for code in '?bhilqpBHILQPefdgU'}
    assert {target for target, _ in types} == {HistoryBuffer, np.ndarray, np.dtype} | numbers
    assert {name for _, name in functions} == {
        'builtins.bytes',
        'builtins.getattr',
        'numpy.core.multiarray._reconstruct',
        'numpy._core.multiarray._reconstruct',
        'numpy.core.multiarray.scalar',
        'numpy._core.multiarray.scalar',
    }
    assert not {getattr, bytes} & {target for target, _ in functions}


def test_an_empty_array_loads_and_bytes_of_a_size_do_not(tmp_path):
    torch.save({'sigmas': np.zeros(0, np.float32)}, tmp_path / 'empty.pth')
    assert torch.load(tmp_path / 'empty.pth', weights_only=True)['sigmas'].shape == (0,)
    torch.save(Evil(bytes, 10**12), tmp_path / 'evil.pth')
    with pytest.raises((TypeError, pickle.UnpicklingError)):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


def test_a_one_cycle_schedule_loads_and_keeps_its_own_function(tmp_path):
    def schedule():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        return OneCycleLR(optimizer, eta_max=0.1, total_steps=10, by_epoch=False)

    stopped, resumed = schedule(), schedule()
    for _ in range(3):
        stopped.optimizer.step()
        stopped.step()
    torch.save(stopped.state_dict(), tmp_path / 'schedule.pth')
    resumed.load_state_dict(torch.load(tmp_path / 'schedule.pth', weights_only=True))
    for scheduler in (stopped, resumed):
        scheduler.optimizer.step()
        scheduler.step()
    assert resumed.get_last_value() == stopped.get_last_value()


def test_apply_adds_the_list_once():
    before = set(torch.serialization.get_safe_globals())
    apply()
    assert set(torch.serialization.get_safe_globals()) == before
