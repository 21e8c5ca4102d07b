# 2D-3D pairs from the CMU and DeepMimic mocap, shared by every config trained on it: what is compared differs in
# nothing here. docs/datasets/mocap.md says how to make the file.
mocap_file = 'data/mocap/mocap.npz'

# Never seen in training, in any recording of theirs.
test_subjects = ['cmu02', 'cmu09', 'cmu12']
# Conversions with joints bent the wrong way for most of the clip; 01_01 and 01_14 are there as true AMC too.
faulty_clips = ['cmu01/01_01.bvh', 'cmu01/01_14.bvh', 'cmu14/14_23.bvh']

# Wild cameras and human proportions: what the published figures are measured on.
test_proportions = dict(bone_spread=0.04, body_spread=0.05)
wild_cameras = dict(image_size=(1920, 1080), focal=(600.0, 3000.0), pitch_deg=(-17.0, 40.0))

mocap_train = dict(
    type='MocapDataset',
    ann_file=mocap_file,
    num_pairs=524288,
    exclude=[*test_subjects, *faulty_clips],
    proportions=dict(bone_spread=0.06, body_spread=0.06),
    augmentation=dict(mix_prob=0.4, limb_jitter_deg=8.0, tilt_deg=10.0),
    cameras=wild_cameras,
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
