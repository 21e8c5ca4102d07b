# MMPose's SimpleBaseline3D network at its published width, on screen-normalised pixels: the comparison, on the same
# pairs with the same budget. No right view, no search.
_base_ = ['./simplebaseline3d_res512_1xb512-20e_mocap.py']

model = dict(backbone=dict(stem_channels=1024), head=dict(in_channels=1024))
