# Human3.6M as MMPose's preprocess_h36m.py writes it: docs/datasets/human36m.md says how to make the files.
# Not named h36m.py: MMPose would take that for its own dataset information when run from this project's folder.
h36m_root = 'data/h36m/'

# Subject 9's clips whose motion capture stands beside the person. The standard protocol counts them; to leave them
# out, as some papers do: test_dataloader.dataset.exclude.
damaged_clips = ['S9_Greeting', 'S9_SittingDown_1', 'S9_Waiting_1']

h36m_files = dict(
    type='StereoHuman36mDataset',
    data_root=h36m_root,
    data_prefix=dict(img='images/'),
    camera_param_file='annotation_body3d/cameras.pkl',
    protocol='protocol1',
    keypoint_2d_src='gt',
)
h36m_train = dict(ann_file='annotation_body3d/fps50/h36m_train.npz', **h36m_files)
h36m_test = dict(ann_file='annotation_body3d/fps50/h36m_test.npz', test_mode=True, **h36m_files)

# What PackPoseInputs has to pass on for the evaluators below.
h36m_meta_keys = (
    *('id', 'category_id', 'img_path', 'target_img_path', 'flip_indices', 'target_root'),
    *('subject', 'action', 'subaction', 'camera', 'sequence', 'frame'),
)
# The leaderboard's numbers: over all frames, for each action, and the mean of the actions. A list, as MMEngine takes a
# dict with a key `metrics` for something else.
h36m_evaluator = [
    dict(type='MPJPEMetric', metrics='all', group_by=['action'], sequence_key='sequence', frame_key='frame')
]
