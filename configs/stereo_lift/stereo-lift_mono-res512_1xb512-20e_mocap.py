# Ablation: no synthesised right view.
_base_ = ['./stereo-lift_res512_1xb512-20e_mocap.py']

model = dict(backbone=dict(synthesize=False), head=dict(in_channels=84, loss_view=None))
