# The paper's networks and pixel view on the mocap pairs; what differs from its Human3.6M config is the data, its
# statistics and the schedule, which is that of the other mocap configs.
_base_ = ['./stereo-lift_res512_1xb512-20e_mocap.py']

# tools/compute_statistics.py makes this file from this very config.
codec = dict(type='StereoPoseLifting', view='pixel', baseline=0.1, statistics='data/mocap/stereo_statistics.json')
model = dict(
    backbone=dict(
        in_channels=34,
        width=1024,
        dropout=0.5,
        max_norm=1.0,
        bone_lengths=None,
        disparity=False,
        flip_test=False,
    ),
    head=dict(
        in_channels=68,
        width=1024,
        dropout=0.5,
        max_norm=1.0,
        loss=dict(_delete_=True, type='MSELoss', use_target_weight=True),
        loss_view=dict(_delete_=True, type='MSELoss', use_target_weight=True),
        loss_uncertainty=None,
        decoder=codec,
        # The paper knows no detector's errors.
        search=dict(max_miss=None, uncertainty_power=0.0),
    ),
)
train_dataloader = dict(dataset=dict(codec=codec))
test_pipeline = [
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs', meta_keys=('id', 'category_id', 'target_img_path', 'flip_indices', 'subject', 'clip')),
]
val_dataloader = dict(dataset=dict(codec=codec))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
