# Ray view, synthesised right view and search on Human3.6M with ground-truth 2D.
_base_ = ['../_base_/stereo_lifter_8xb64-200e.py', '../_base_/datasets/h36m_pairs.py']

test_pipeline = [
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs', meta_keys=_base_.h36m_meta_keys),
]
train_dataloader = dict(dataset=dict(codec=_base_.codec, **_base_.h36m_train), **_base_.train_loader)
val_dataloader = dict(
    dataset=dict(codec=_base_.codec, pipeline=test_pipeline, **_base_.h36m_test), **_base_.test_loader
)
test_dataloader = val_dataloader
test_evaluator = _base_.h36m_evaluator
