# The paper as released: standardised pixels relative to the root, width 1024, two residual blocks in each
# subnetwork, mean squared errors, Kaiming initialisation, batch norm, dropout, max-norm; Adam, batch 64, 200 epochs,
# 1e-3 decayed by 0.96 every 100,000 steps; subjects 1, 5, 6, 7, 8 for training, 9 and 11 for testing.
# The statistics are Human3.6M's own: tools/compute_statistics.py makes them from its annotations.
_base_ = ['./stereo-lift_res512_8xb64-200e_h36m.py']

codec = dict(
    type='StereoPoseLifting',
    view='pixel',
    baseline=0.1,
    statistics='data/h36m/annotation_body3d/fps50/stereo_statistics.json',
)
model = dict(
    backbone=dict(
        in_channels=34,
        width=1024,
        num_blocks=2,
        dropout=0.5,
        max_norm=1.0,
        bone_lengths=None,
        disparity=False,
        flip_test=False,
    ),
    head=dict(
        in_channels=68,
        width=1024,
        num_blocks=2,
        dropout=0.5,
        max_norm=1.0,
        loss=dict(_delete_=True, type='MSELoss', use_target_weight=True),
        loss_view=dict(_delete_=True, type='MSELoss', use_target_weight=True),
        loss_uncertainty=None,
        decoder=codec,
        search=dict(type='GeometricSearch', objective='norm', max_miss=None, uncertainty_power=0.0),
    ),
)
train_dataloader = dict(dataset=dict(codec=codec))
test_pipeline = [
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs', meta_keys=_base_.h36m_meta_keys),
]
val_dataloader = dict(dataset=dict(codec=codec, pipeline=test_pipeline))
test_dataloader = val_dataloader
