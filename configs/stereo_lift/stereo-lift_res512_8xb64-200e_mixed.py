# Human3.6M, MPI-INF-3DHP and Wild-3D together, as single samples through MMPose's CombinedDataset. An epoch takes a
# tenth of Human3.6M's frames, a fifth of MPI-INF-3DHP's and all of Wild-3D: about 156,000, 102,000 and 320,000.
_base_ = [
    '../_base_/stereo_lifter_8xb64-200e.py',
    '../_base_/datasets/h36m_pairs.py',
    '../_base_/datasets/mpi_inf_3dhp_pairs.py',
    '../_base_/datasets/wild3d_pairs.py',
]

train_pipeline = [
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs', meta_keys=('id', 'category_id', 'img_path', 'target_img_path', 'flip_indices')),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/h36m.py'),
        datasets=[_base_.h36m_train, _base_.mpi_inf_3dhp_train, _base_.wild3d_train],
        sample_ratio_factor=[0.1, 0.2, 1.0],
        pipeline=train_pipeline,
    ),
)

test_pipeline = [
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs', meta_keys=_base_.h36m_meta_keys),
]
val_dataloader = dict(
    dataset=dict(codec=_base_.codec, pipeline=test_pipeline, **_base_.h36m_test), **_base_.test_loader
)
test_dataloader = val_dataloader
test_evaluator = _base_.h36m_evaluator
