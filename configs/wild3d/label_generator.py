# How 2D annotations become 3D labels: `tools/generate_wild3d.py … --config configs/wild3d/label_generator.py`. These
# are the defaults; all of them decide about labels, and are part of the hash that each label keeps.

# By the keypoints that people are annotated with; without `config` and `checkpoint` the lifters that are shipped.
lifters = dict(coco=dict(), h36m=dict())
# Calibration of quality for these lifters; None for that of the shipped ones.
label_models = None

camera = dict(
    # Degrees, horizontal: of photographs that tell no focal length. Depth scales with it.
    fov_deg=55.0,
    # Focal lengths from the EXIF data of the images, where their folder is given.
    exif=True,
    # People on photographs with damaged EXIF data: 'reject', or 'prior' to take them as if they had none.
    broken_exif='reject',
    # Width and height of images of which nothing tells it, as MPII's annotations; None rejects them.
    image_size=None,
)
# Keypoints that score less count as missing.
min_score = 0.1
# Gauss-Newton steps towards a plausible body.
refine_steps = 4
# Passes with shaken input, the spread of which is part of quality.
num_passes = 2

# What a label needs to be kept.
thresholds = dict(
    # Probability of an error below the tolerance; None takes the calibration's, which keeps four fifths of the labels
    # that it was fitted to.
    min_quality=None,
    # Pixels, mean over the keypoints on their rays.
    max_reprojection_error=1.0,
    # Metres.
    root_depth=(0.3, 150.0),
    # Keypoints on their rays.
    min_keypoints=4,
    # Least and greatest length of a bone, and of the whole body, as shares of an adult's.
    bone_ratio=(0.25, 2.5),
    body_ratio=(0.4, 1.6),
    # Radians beyond the limits of all joints: 60 degrees.
    max_joint_excess=3.141592653589793 / 3,
    # Probability that left and right of the legs, the arms or all are confused; 1 does not look.
    max_side_doubt=0.5,
)

# Part of the images that is for training, by the hash of their name.
train_share = 0.8
# People that are labelled together and written to one file of each split.
shard_size = 4096
seed = 0
