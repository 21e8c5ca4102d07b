# Ray view, synthesised right view and search on a set that `tools/generate_wild3d.py` made.
_base_ = ['../stereo_lift/stereo-lift_res512_8xb64-200e_wild3d.py']

# `--out data/wild3d/annotations`; the gate has left out bad labels already.
generated = dict(min_quality=0.0)
train_dataloader = dict(dataset=generated)
val_dataloader = dict(dataset=generated)
test_dataloader = val_dataloader
