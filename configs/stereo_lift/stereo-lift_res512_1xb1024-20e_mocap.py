# The default lifter: ray view, synthesised right view, geometric search; 20 epochs of 524,288 mocap pairs.
_base_ = ['../_base_/default_runtime.py', '../_base_/mocap_pairs.py']

randomness = dict(seed=0)
max_epochs = 20
iters_per_epoch = 512

train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-2))
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=2e-3,
        total_steps=max_epochs * iters_per_epoch,
        pct_start=0.1,
        by_epoch=False,
    )
]
auto_scale_lr = dict(base_batch_size=1024)

codec = dict(type='StereoPoseLifting', view='ray', baseline=0.5)
model = dict(
    type='PoseLifter',
    backbone=dict(type='ViewSynthesisNet', in_channels=52, width=512, num_blocks=2),
    head=dict(
        type='StereoLifter',
        in_channels=86,
        width=512,
        num_blocks=2,
        loss=dict(type='MPJPELoss', use_target_weight=True),
        loss_view=dict(type='MPJPELoss', use_target_weight=True, loss_weight=0.5),
        decoder=codec,
        search=dict(type='GeometricSearch'),
    ),
)

train_dataloader = dict(
    batch_size=1024,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='collate_packed'),
    dataset=dict(
        codec=codec,
        noise=dict(clean_prob=0.5, jitter=0.08, swap_prob=0.02, missing_prob=0.04, coco_prob=0.5),
        **_base_.mocap_train,
    ),
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
