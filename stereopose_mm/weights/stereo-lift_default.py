auto_scale_lr = dict(base_batch_size=512)
backend_args = dict(backend='local')
bodies_file = 'data/mocap/bodies.npz'
bodies_test = dict(
    ann_file='data/mocap/bodies.npz',
    cameras=dict(
        focal=(
            600.0,
            3000.0,
        ),
        image_size=(
            1920,
            1080,
        ),
        pitch_deg=(
            -17.0,
            40.0,
        ),
    ),
    exclude=[
        'cmu01/01_01.bvh',
        'cmu01/01_14.bvh',
        'cmu14/14_23.bvh',
    ],
    keypoint_set='coco',
    num_pairs=8192,
    proportions=dict(body_spread=0.0, bone_spread=0.0, own_share=1.0),
    seed=1,
    subjects=[
        'cmu02',
        'cmu09',
        'cmu12',
    ],
    test_mode=True,
    type='MocapDataset',
)
bodies_train = dict(
    ann_file='data/mocap/bodies.npz',
    augmentation=dict(limb_jitter_deg=6.0, limb_turn_deg=10.0, mix_prob=0.4, tilt_deg=10.0),
    cameras=dict(
        focal=(
            600.0,
            3000.0,
        ),
        image_size=(
            1920,
            1080,
        ),
        pitch_deg=(
            -17.0,
            40.0,
        ),
        wrong_focal=(
            0.5,
            2.0,
        ),
        wrong_focal_prob=0.25,
    ),
    clip_balance=0.7,
    exclude=[
        'cmu02',
        'cmu09',
        'cmu12',
        'cmu01/01_01.bvh',
        'cmu01/01_14.bvh',
        'cmu14/14_23.bvh',
    ],
    keypoint_set='coco',
    num_pairs=524288,
    proportions=dict(body_spread=0.06, bone_spread=0.06, offset_spread=0.2, own_share=1.0, wide_share=0.1),
    type='MocapDataset',
)
calibration_dataset = dict(
    ann_file='data/mocap/mocap.npz',
    augmentation=dict(limb_jitter_deg=6.0, limb_turn_deg=10.0, mix_prob=0.4, tilt_deg=10.0),
    cameras=dict(
        focal=(
            600.0,
            3000.0,
        ),
        image_size=(
            1920,
            1080,
        ),
        pitch_deg=(
            -17.0,
            40.0,
        ),
    ),
    clip_balance=0.7,
    codec=dict(baseline=0.5, type='StereoPoseLifting', view='ray'),
    exclude=[
        'cmu02',
        'cmu09',
        'cmu12',
        'cmu01/01_01.bvh',
        'cmu01/01_14.bvh',
        'cmu14/14_23.bvh',
    ],
    noise=dict(
        clean_prob=0.65,
        coco_prob=0.3,
        gross_prob=0.18,
        gross_scale=0.5,
        inversion_prob=0.04,
        jitter=0.17,
        level=0.5,
        missing_prob=0.03,
        swap_prob=0.015,
        truncate_prob=0.15,
    ),
    num_pairs=524288,
    proportions=dict(body_spread=0.06, bone_spread=0.06),
    type='MocapDataset',
)
codec = dict(baseline=0.5, type='StereoPoseLifting', view='ray')
custom_hooks = [
    dict(type='SyncBuffersHook'),
]
custom_imports = dict(
    allow_failed_imports=False,
    imports=[
        'stereopose_mm',
    ],
)
default_hooks = dict(
    badcase=dict(badcase_thr=5, enable=False, metric_type='loss', out_dir='badcase', type='BadCaseAnalysisHook'),
    checkpoint=dict(interval=1, max_keep_ckpts=2, rule='less', save_best='MPJPE', type='CheckpointHook'),
    logger=dict(interval=100, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='IterTimerHook'),
    visualization=dict(enable=False, type='PoseVisualizationHook'),
)
default_scope = 'mmpose'
env_cfg = dict(
    cudnn_benchmark=False, dist_cfg=dict(backend='nccl'), mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)
)
faulty_clips = [
    'cmu01/01_01.bvh',
    'cmu01/01_14.bvh',
    'cmu14/14_23.bvh',
]
iters_per_epoch = 1024
load_from = None
log_level = 'INFO'
log_processor = dict(by_epoch=True, num_digits=4, type='LogProcessor', window_size=50)
max_epochs = 20
mocap_file = 'data/mocap/mocap.npz'
mocap_test = dict(
    ann_file='data/mocap/mocap.npz',
    cameras=dict(
        focal=(
            600.0,
            3000.0,
        ),
        image_size=(
            1920,
            1080,
        ),
        pitch_deg=(
            -17.0,
            40.0,
        ),
    ),
    exclude=[
        'cmu01/01_01.bvh',
        'cmu01/01_14.bvh',
        'cmu14/14_23.bvh',
    ],
    num_pairs=8192,
    proportions=dict(body_spread=0.05, bone_spread=0.04),
    seed=1,
    subjects=[
        'cmu02',
        'cmu09',
        'cmu12',
    ],
    test_mode=True,
    type='MocapDataset',
)
mocap_train = dict(
    ann_file='data/mocap/mocap.npz',
    augmentation=dict(limb_jitter_deg=6.0, limb_turn_deg=10.0, mix_prob=0.4, tilt_deg=10.0),
    cameras=dict(
        focal=(
            600.0,
            3000.0,
        ),
        image_size=(
            1920,
            1080,
        ),
        pitch_deg=(
            -17.0,
            40.0,
        ),
        wrong_focal=(
            0.5,
            2.0,
        ),
        wrong_focal_prob=0.25,
    ),
    clip_balance=0.7,
    exclude=[
        'cmu02',
        'cmu09',
        'cmu12',
        'cmu01/01_01.bvh',
        'cmu01/01_14.bvh',
        'cmu14/14_23.bvh',
    ],
    num_pairs=524288,
    proportions=dict(body_spread=0.06, bone_spread=0.06, wide_share=0.25),
    type='MocapDataset',
)
model = dict(
    backbone=dict(
        bone_lengths='h36m',
        disparity=True,
        flip_test=True,
        in_channels=52,
        num_blocks=2,
        type='ViewSynthesisNet',
        width=256,
    ),
    head=dict(
        decoder=dict(baseline=0.5, type='StereoPoseLifting', view='ray'),
        in_channels=118,
        loss=dict(type='MPJPELoss', use_target_weight=True),
        loss_uncertainty=dict(loss_weight=0.01, type='DepthUncertaintyLoss'),
        loss_view=dict(loss_weight=0.5, type='MPJPELoss', use_target_weight=True),
        num_blocks=2,
        search=dict(max_miss=0.1, type='GeometricSearch', uncertainty_power=1.0),
        type='StereoLifter',
        width=512,
    ),
    type='PoseLifter',
)
optim_wrapper = dict(optimizer=dict(lr=0.0015, type='AdamW', weight_decay=0.01))
param_scheduler = [
    dict(by_epoch=False, eta_max=0.0015, pct_start=0.1, total_steps=20480, type='OneCycleLR'),
]
randomness = dict(seed=0)
resume = False
test_cfg = dict()
test_dataloader = dict(
    batch_size=1024,
    dataset=dict(
        ann_file='data/mocap/mocap.npz',
        cameras=dict(
            focal=(
                600.0,
                3000.0,
            ),
            image_size=(
                1920,
                1080,
            ),
            pitch_deg=(
                -17.0,
                40.0,
            ),
        ),
        exclude=[
            'cmu01/01_01.bvh',
            'cmu01/01_14.bvh',
            'cmu14/14_23.bvh',
        ],
        num_pairs=8192,
        pipeline=[
            dict(encoder=dict(baseline=0.5, type='StereoPoseLifting', view='ray'), type='GenerateTarget'),
            dict(
                meta_keys=(
                    'id',
                    'category_id',
                    'target_img_path',
                    'flip_indices',
                    'subject',
                    'clip',
                ),
                type='PackPoseInputs',
            ),
        ],
        proportions=dict(body_spread=0.05, bone_spread=0.04),
        seed=1,
        subjects=[
            'cmu02',
            'cmu09',
            'cmu12',
        ],
        test_mode=True,
        type='MocapDataset',
    ),
    drop_last=False,
    num_workers=0,
    sampler=dict(round_up=False, shuffle=False, type='DefaultSampler'),
)
test_evaluator = dict(type='MPJPEMetric')
test_pipeline = [
    dict(encoder=dict(baseline=0.5, type='StereoPoseLifting', view='ray'), type='GenerateTarget'),
    dict(
        meta_keys=(
            'id',
            'category_id',
            'target_img_path',
            'flip_indices',
            'subject',
            'clip',
        ),
        type='PackPoseInputs',
    ),
]
test_proportions = dict(body_spread=0.05, bone_spread=0.04)
test_subjects = [
    'cmu02',
    'cmu09',
    'cmu12',
]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=5)
train_dataloader = dict(
    batch_size=512,
    collate_fn=dict(type='collate_packed'),
    dataset=dict(
        ann_file='data/mocap/mocap.npz',
        augmentation=dict(limb_jitter_deg=6.0, limb_turn_deg=10.0, mix_prob=0.4, tilt_deg=10.0),
        cameras=dict(
            focal=(
                600.0,
                3000.0,
            ),
            image_size=(
                1920,
                1080,
            ),
            pitch_deg=(
                -17.0,
                40.0,
            ),
            wrong_focal=(
                0.5,
                2.0,
            ),
            wrong_focal_prob=0.25,
        ),
        clip_balance=0.7,
        codec=dict(baseline=0.5, type='StereoPoseLifting', view='ray'),
        exclude=[
            'cmu02',
            'cmu09',
            'cmu12',
            'cmu01/01_01.bvh',
            'cmu01/01_14.bvh',
            'cmu14/14_23.bvh',
        ],
        noise=dict(
            clean_prob=0.65,
            coco_prob=0.3,
            gross_prob=0.18,
            gross_scale=0.5,
            inversion_prob=0.04,
            jitter=0.17,
            level=0.5,
            missing_prob=0.03,
            swap_prob=0.015,
            truncate_prob=0.15,
        ),
        num_pairs=524288,
        proportions=dict(body_spread=0.06, bone_spread=0.06, wide_share=0.25),
        type='MocapDataset',
    ),
    num_workers=0,
    sampler=dict(shuffle=True, type='DefaultSampler'),
)
train_noise = dict(
    clean_prob=0.65,
    gross_prob=0.18,
    gross_scale=0.5,
    inversion_prob=0.04,
    jitter=0.17,
    level=0.5,
    missing_prob=0.03,
    swap_prob=0.015,
    truncate_prob=0.15,
)
val_cfg = dict()
val_dataloader = dict(
    batch_size=1024,
    collate_fn=dict(type='collate_packed'),
    dataset=dict(
        ann_file='data/mocap/mocap.npz',
        cameras=dict(
            focal=(
                600.0,
                3000.0,
            ),
            image_size=(
                1920,
                1080,
            ),
            pitch_deg=(
                -17.0,
                40.0,
            ),
        ),
        codec=dict(baseline=0.5, type='StereoPoseLifting', view='ray'),
        exclude=[
            'cmu01/01_01.bvh',
            'cmu01/01_14.bvh',
            'cmu14/14_23.bvh',
        ],
        num_pairs=8192,
        proportions=dict(body_spread=0.05, bone_spread=0.04),
        seed=1,
        subjects=[
            'cmu02',
            'cmu09',
            'cmu12',
        ],
        test_mode=True,
        type='MocapDataset',
    ),
    drop_last=False,
    num_workers=0,
    sampler=dict(round_up=False, shuffle=False, type='DefaultSampler'),
)
val_evaluator = dict(type='MPJPEMetric')
vis_backends = [
    dict(type='LocalVisBackend'),
]
visualizer = dict(
    name='visualizer',
    type='Pose3dLocalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ],
)
wild_cameras = dict(
    focal=(
        600.0,
        3000.0,
    ),
    image_size=(
        1920,
        1080,
    ),
    pitch_deg=(
        -17.0,
        40.0,
    ),
)
