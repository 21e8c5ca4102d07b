# Ablation: no synthesised right view.
_base_ = ['./stereo-lift_res512_1xb1024-20e_mocap.py']

model = dict(backbone=dict(synthesize=False), head=dict(in_channels=52, loss_view=None))
