"""Training on Lightning's Trainer: the step, the callbacks, the run folder, the protocol of the numbers."""
