# Ray view, synthesised right view and search on Human3.6M with ground-truth 2D (MMPose's Human36mDataset).
_base_ = ['../_base_/default_runtime.py']

train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [dict(type='StepLR', step_size=100000, gamma=0.96, by_epoch=False)]
auto_scale_lr = dict(base_batch_size=512)

codec = dict(type='StereoPoseLifting', view='ray', baseline=0.5)
model = dict(
    type='PoseLifter',
    backbone=dict(type='ViewSynthesisNet', in_channels=52, width=512, num_blocks=2, dropout=0.1),
    head=dict(
        type='StereoLifter',
        in_channels=86,
        width=512,
        num_blocks=2,
        dropout=0.1,
        loss=dict(type='MPJPELoss', use_target_weight=True),
        loss_view=dict(type='MPJPELoss', use_target_weight=True, loss_weight=0.5),
        decoder=codec,
        search=dict(type='GeometricSearch'),
    ),
)

pipeline = [
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs', meta_keys=('id', 'category_id', 'target_img_path', 'flip_indices')),
]
h36m = dict(
    type='Human36mDataset',
    data_root='data/h36m/',
    data_prefix=dict(img='images/'),
    camera_param_file='annotation_body3d/cameras.pkl',
    seq_len=1,
    causal=True,
    keypoint_2d_src='gt',
    pipeline=pipeline,
)
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='annotation_body3d/fps50/h36m_train.npz', **h36m),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(ann_file='annotation_body3d/fps50/h36m_test.npz', test_mode=True, **h36m),
)
test_dataloader = val_dataloader

# MMPose's own evaluators run on this too; MPJPEMetric adds what they lack.
val_evaluator = [
    dict(type='MPJPEMetric'),
    dict(type='MPJPE', mode='mpjpe', prefix='mmpose'),
    dict(type='MPJPE', mode='p-mpjpe', prefix='mmpose'),
]
test_evaluator = val_evaluator
