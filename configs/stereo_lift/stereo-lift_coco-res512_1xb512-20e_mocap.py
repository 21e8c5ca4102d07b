# COCO-17 keypoints straight to H36M-17: the default lifter's recipe on bodies that have both. The network tells COCO's
# keypoints in 3D too, which the search puts on their rays.
_base_ = ['./stereo-lift_res512_1xb512-20e_mocap.py']

codec = dict(type='StereoPoseLifting', view='ray', baseline=0.5, keypoint_set='coco')
model = dict(
    backbone=dict(bone_lengths='coco', in_channels=52),
    head=dict(in_channels=122, num_joints=34, num_keypoints=17, decoder=codec),
)
# COCO's keypoints come from detectors more often than not.
coco_noise = dict(_base_.train_noise, clean_prob=0.35)
train_dataloader = dict(dataset=dict(_delete_=True, codec=codec, noise=coco_noise, **_base_.bodies_train))
calibration_dataset = dict(
    _base_.bodies_train,
    _delete_=True,
    codec=codec,
    noise=coco_noise,
    cameras=_base_.wild_cameras,
    proportions=dict(own_share=1.0, bone_spread=0.06, body_spread=0.06, offset_spread=0.2),
)
test_pipeline = [
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs', meta_keys=('id', 'category_id', 'target_img_path', 'flip_indices', 'subject', 'clip')),
]
val_dataloader = dict(
    _delete_=True,
    batch_size=1024,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_packed'),
    dataset=dict(codec=codec, pipeline=test_pipeline, **_base_.bodies_test),
)
test_dataloader = val_dataloader
