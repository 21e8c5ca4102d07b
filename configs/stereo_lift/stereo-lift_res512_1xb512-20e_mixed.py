# The default lifter's recipe on mocap, Human3.6M, MPI-INF-3DHP and Wild-3D: every batch has pairs of each, in the
# ratios below whatever their sizes.
_base_ = [
    './stereo-lift_res512_1xb512-20e_mocap.py',
    '../_base_/datasets/h36m_pairs.py',
    '../_base_/datasets/mpi_inf_3dhp_pairs.py',
    '../_base_/datasets/wild3d_pairs.py',
]

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MixedLiftingDataset',
        num_pairs=524288,
        ratios=[0.4, 0.3, 0.15, 0.15],
        datasets=[
            dict(noise=dict(coco_prob=0.3, **_base_.train_noise), **_base_.mocap_train),
            _base_.h36m_train,
            _base_.mpi_inf_3dhp_train,
            _base_.wild3d_train,
        ],
        codec=_base_.codec,
    ),
)
