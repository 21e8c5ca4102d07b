# MMPose's runtime, with this plugin switched on.
_base_ = 'mmpose::_base_/default_runtime.py'

custom_imports = dict(imports=['stereopose_mm'], allow_failed_imports=False)

visualizer = dict(type='Pose3dLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True, num_digits=4)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='MPJPE', rule='less'),
)
