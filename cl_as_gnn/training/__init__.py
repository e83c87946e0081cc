"""Training on Lightning's Trainer: the step, the optimizer, the batches, the callbacks, the loop."""
