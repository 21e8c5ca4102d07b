# Ray view, synthesised right view and search on Wild-3D: photographs with 3D labels and with 2D labels only.
_base_ = ['../_base_/stereo_lifter_8xb64-200e.py', '../_base_/datasets/wild3d_pairs.py']

test_pipeline = [
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs', meta_keys=_base_.wild3d_meta_keys),
]
train_dataloader = dict(dataset=dict(codec=_base_.codec, **_base_.wild3d_train), **_base_.train_loader)
val_dataloader = dict(
    dataset=dict(codec=_base_.codec, pipeline=test_pipeline, **_base_.wild3d_val), **_base_.test_loader
)
test_dataloader = val_dataloader
test_evaluator = _base_.wild3d_evaluator
