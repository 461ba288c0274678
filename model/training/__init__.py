"""Training: losses, presets, checkpoints, runs, ensembles, tuning and ablation."""
