# Ray view, synthesised right view and search on MPI-INF-3DHP with ground-truth 2D, tested on its official test set.
_base_ = ['../_base_/stereo_lifter_8xb64-200e.py', '../_base_/datasets/mpi_inf_3dhp_pairs.py']

test_pipeline = [
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs', meta_keys=_base_.mpi_inf_3dhp_meta_keys),
]
train_dataloader = dict(dataset=dict(codec=_base_.codec, **_base_.mpi_inf_3dhp_train), **_base_.train_loader)
val_dataloader = dict(
    dataset=dict(codec=_base_.codec, pipeline=test_pipeline, **_base_.mpi_inf_3dhp_test), **_base_.test_loader
)
test_dataloader = val_dataloader
test_evaluator = _base_.mpi_inf_3dhp_evaluator
