# The default lifter: ray view, synthesised right view, geometric search; 20 epochs of 524,288 mocap pairs.
_base_ = ['../_base_/default_runtime.py', '../_base_/mocap_pairs.py']

randomness = dict(seed=0)
max_epochs = 20
iters_per_epoch = 1024

train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1.5e-3, weight_decay=1e-2))
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=1.5e-3,
        total_steps=max_epochs * iters_per_epoch,
        pct_start=0.1,
        by_epoch=False,
    )
]
auto_scale_lr = dict(base_batch_size=512)

codec = dict(type='StereoPoseLifting', view='ray', baseline=0.5)
model = dict(
    type='PoseLifter',
    backbone=dict(
        type='ViewSynthesisNet',
        in_channels=52,
        width=256,
        num_blocks=2,
        bone_lengths='h36m',
        disparity=True,
        flip_test=True,
    ),
    head=dict(
        type='StereoLifter',
        in_channels=118,
        width=512,
        num_blocks=2,
        loss=dict(type='MPJPELoss', use_target_weight=True),
        loss_view=dict(type='MPJPELoss', use_target_weight=True, loss_weight=0.5),
        loss_uncertainty=dict(type='DepthUncertaintyLoss', loss_weight=0.01),
        decoder=codec,
        search=dict(type='GeometricSearch', max_miss=0.1, uncertainty_power=1.0),
    ),
)

train_dataloader = dict(
    batch_size=512,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='collate_packed'),
    dataset=dict(
        codec=codec,
        noise=dict(coco_prob=0.3, **_base_.train_noise),
        **_base_.mocap_train,
    ),
)

# What uncertainties are calibrated on when a lifter is published: people and cameras as they are, not as robustness
# asks.
calibration_dataset = dict(
    _base_.mocap_train,
    codec=codec,
    noise=dict(coco_prob=0.3, **_base_.train_noise),
    cameras=_base_.wild_cameras,
    proportions=dict(bone_spread=0.06, body_spread=0.06),
)

val_dataloader = dict(
    batch_size=1024,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_packed'),
    dataset=dict(codec=codec, **_base_.mocap_test),
)
val_evaluator = dict(type='MPJPEMetric')

# The same pairs as single samples through MMPose's own transforms: MMPose's inference API takes its pipeline here.
test_pipeline = [
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs', meta_keys=('id', 'category_id', 'target_img_path', 'flip_indices', 'subject', 'clip')),
]
test_dataloader = dict(
    batch_size=1024,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(pipeline=test_pipeline, **_base_.mocap_test),
)
test_evaluator = val_evaluator
