# 2D-3D pairs from the CMU and DeepMimic mocap, shared by every config trained on it: what is compared differs in
# nothing here. docs/datasets/mocap.md says how to make the file.
mocap_file = 'data/mocap/mocap.npz'
# The same clips on bodies that have COCO's keypoints too. docs/datasets/bodies.md says how to make the file.
bodies_file = 'data/mocap/bodies.npz'

# Never seen in training, in any recording of theirs.
test_subjects = ['cmu02', 'cmu09', 'cmu12']
# Conversions with joints bent the wrong way for most of the clip; 01_01 and 01_14 are there as true AMC too.
faulty_clips = ['cmu01/01_01.bvh', 'cmu01/01_14.bvh', 'cmu14/14_23.bvh']

# Wild cameras and human proportions: what the published figures are measured on.
test_proportions = dict(bone_spread=0.04, body_spread=0.05)
wild_cameras = dict(image_size=(1920, 1080), focal=(600.0, 3000.0), pitch_deg=(-17.0, 40.0))

# What detectors do, in a share of the pairs; the others are as an exact annotation gives them.
train_noise = dict(
    clean_prob=0.65,
    jitter=0.17,
    gross_prob=0.18,
    gross_scale=0.5,
    inversion_prob=0.04,
    swap_prob=0.015,
    missing_prob=0.03,
    truncate_prob=0.15,
    level=0.5,
)

mocap_train = dict(
    type='MocapDataset',
    ann_file=mocap_file,
    num_pairs=524288,
    exclude=[*test_subjects, *faulty_clips],
    proportions=dict(bone_spread=0.06, body_spread=0.06, wide_share=0.25),
    augmentation=dict(mix_prob=0.4, limb_turn_deg=10.0, limb_jitter_deg=6.0, tilt_deg=10.0),
    # Who trains with true cameras only is lost with a guessed one.
    cameras=dict(wrong_focal_prob=0.25, wrong_focal=(0.5, 2.0), **wild_cameras),
    clip_balance=0.7,
)
mocap_test = dict(
    type='MocapDataset',
    ann_file=mocap_file,
    num_pairs=8192,
    subjects=test_subjects,
    exclude=faulty_clips,
    proportions=test_proportions,
    cameras=wild_cameras,
    test_mode=True,
    seed=1,
)

bodies_train = dict(
    mocap_train,
    ann_file=bodies_file,
    keypoint_set='coco',
    proportions=dict(own_share=1.0, bone_spread=0.06, body_spread=0.06, offset_spread=0.2, wide_share=0.1),
)
# People of all shapes, as they are.
bodies_test = dict(
    mocap_test,
    ann_file=bodies_file,
    keypoint_set='coco',
    proportions=dict(own_share=1.0, bone_spread=0.0, body_spread=0.0),
)
