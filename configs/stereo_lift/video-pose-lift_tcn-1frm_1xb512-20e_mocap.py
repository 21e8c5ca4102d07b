# The network of MMPose's video-pose-lift_tcn-1frm-supv (VideoPose3D on one frame), on screen-normalised pixels: a
# comparison, on the same pairs with the same budget. As for SimpleBaseline3D, without dropout: 0.25 as published.
_base_ = ['./simplebaseline3d_res1024_1xb512-20e_mocap.py']

model = dict(backbone=dict(num_blocks=4, kernel_sizes=(1, 1, 1, 1, 1), use_stride_conv=True))
