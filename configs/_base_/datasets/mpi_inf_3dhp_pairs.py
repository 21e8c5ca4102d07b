# MPI-INF-3DHP: docs/datasets/mpi_inf_3dhp.md says how to make the files.
# Not named mpi_inf_3dhp.py: MMPose would take that for its own dataset information when run from this project's folder.
mpi_inf_3dhp_root = 'data/mpi_inf_3dhp/'

# The training set as MMPose's preprocess_mpi_inf_3dhp.py writes it: true size, so that 2D and 3D belong together.
mpi_inf_3dhp_train = dict(
    type='MpiInf3dhpDataset',
    data_root=mpi_inf_3dhp_root,
    data_prefix=dict(img='images/'),
    ann_file='annotations/mpi_inf_3dhp_train.npz',
    camera_param_file='annotations/cameras_train.pkl',
)
# The official test set, valid frames only, compared at the universal scale as the leaderboard does.
mpi_inf_3dhp_test = dict(
    type='MpiInf3dhpDataset',
    data_root=mpi_inf_3dhp_root,
    data_prefix=dict(img='raw/mpi_inf_3dhp_test_set/'),
    ann_file='annotations/mpi_inf_3dhp_test.npz',
    scale='universal',
    test_mode=True,
)

# What PackPoseInputs has to pass on for the evaluator below.
mpi_inf_3dhp_meta_keys = (
    *('id', 'category_id', 'img_path', 'target_img_path', 'flip_indices', 'target_root'),
    *('subject', 'sequence', 'frame', 'activity', 'scene'),
)
# The leaderboard's numbers are 3DPCK-14, 3DAUC-14 (14 joints) and MPJPE (17), for each activity and scene. No
# 3DPCK-abs: at the universal scale nobody is where the camera saw them.
# (A list: MMEngine takes a single dict with the key `metrics` to be an evaluator.)
mpi_inf_3dhp_evaluator = [
    dict(
        type='MPJPEMetric',
        metrics=[
            *('mpjpe', 'p_mpjpe', 'n_mpjpe', 'mpjpe_14', 'pck_3d', 'auc_3d', 'pck_3d_14', 'auc_3d_14'),
            *('mrpe', 'mrpe_x', 'mrpe_y', 'mrpe_z', 'auc_3d_root', 'reprojection_error', 'bone_length_error', 'mpjve'),
        ],
        group_by=['activity', 'scene'],
        sequence_key='sequence',
        frame_key='frame',
        pck_threshold=150.0,
    )
]
