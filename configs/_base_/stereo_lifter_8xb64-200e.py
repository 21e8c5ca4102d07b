# The stereo lifter of the mocap config, trained on recorded data with the paper's schedule. The shipped weights fit it:
# configs of data sets evaluate them too.
_base_ = ['./default_runtime.py']

train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [dict(type='StepLR', step_size=100000, gamma=0.96, by_epoch=False)]
auto_scale_lr = dict(base_batch_size=512)

codec = dict(type='StereoPoseLifting', view='ray', baseline=0.5)
model = dict(
    type='PoseLifter',
    backbone=dict(
        type='ViewSynthesisNet',
        in_channels=52,
        width=256,
        num_blocks=2,
        dropout=0.1,
        bone_lengths='h36m',
        disparity=True,
        flip_test=True,
    ),
    head=dict(
        type='StereoLifter',
        in_channels=118,
        width=512,
        num_blocks=2,
        dropout=0.1,
        loss=dict(type='MPJPELoss', use_target_weight=True),
        loss_view=dict(type='MPJPELoss', use_target_weight=True, loss_weight=0.5),
        loss_uncertainty=dict(type='DepthUncertaintyLoss', loss_weight=0.01),
        decoder=codec,
        search=dict(type='GeometricSearch', max_miss=0.1, uncertainty_power=1.0),
    ),
)

# Whole batches through the codec; a test set also has a pipeline, which MMPose's inference API takes from it.
train_loader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='collate_packed'),
)
test_loader = dict(
    batch_size=1024,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_packed'),
)
val_evaluator = [dict(type='MPJPEMetric')]
