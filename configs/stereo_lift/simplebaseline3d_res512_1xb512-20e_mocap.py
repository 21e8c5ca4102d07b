# MMPose's SimpleBaseline3D network on screen-normalised pixels (VideoPose3D's normalisation): the comparison, on
# the same pairs with the same budget. No right view, no search. 512 wide as ours; as published it is 1024 wide.
_base_ = ['./stereo-lift_res512_1xb512-20e_mocap.py']

codec = dict(type='StereoPoseLifting', view='screen')
model = dict(
    backbone=dict(
        _delete_=True,
        type='TCN',
        in_channels=2 * 17,
        stem_channels=512,
        num_blocks=2,
        kernel_sizes=(1, 1, 1),
        # MMPose's 0.5 is against overfitting a fixed data set; endless pairs have none, and it costs accuracy here.
        dropout=0.0,
    ),
    head=dict(
        _delete_=True,
        type='TemporalRegressionHead',
        in_channels=512,
        num_joints=17,
        loss=dict(type='MPJPELoss', use_target_weight=True),
        decoder=codec,
    ),
)
train_dataloader = dict(dataset=dict(codec=dict(view='screen')))
test_pipeline = [
    dict(type='GenerateTarget', encoder=codec),
    dict(
        type='PackPoseInputs',
        meta_keys=('id', 'category_id', 'target_img_path', 'flip_indices', 'target_root', 'subject', 'clip'),
    ),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
# MMPose's head predicts single samples only.
val_dataloader = dict(
    _delete_=True,
    batch_size=1024,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(pipeline=test_pipeline, **_base_.mocap_test),
)
