# Wild-3D: photographs with 3D labels, and with 2D labels only. docs/datasets/wild3d.md says how to make the files.
wild3d_root = 'data/wild3d/'

wild3d_files = dict(
    type='Wild3dDataset',
    data_root=wild3d_root,
    data_prefix=dict(img='images/'),
    ann_file='annotations',
)
# Labels that the generator is not sure of teach less than they spoil; those of hand-made sets have quality 1.
wild3d_train = dict(split='train', min_quality=0.5, **wild3d_files)
wild3d_val = dict(split='val', test_mode=True, **wild3d_files)

# What PackPoseInputs has to pass on for the evaluator below.
wild3d_meta_keys = ('id', 'category_id', 'img_path', 'target_img_path', 'flip_indices', 'target_root', 'source')
# Against labels, not measured poses: the errors say how well the labels are reproduced, for each source of pictures.
# A list: MMEngine takes a dict with `metrics` for an evaluator, not a metric.
wild3d_evaluator = [dict(type='MPJPEMetric', metrics='all', group_by=['source'])]
