"""From a float model to a quantized one, by unlabelled samples: after training, without any more of it."""
