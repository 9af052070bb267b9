"""Quantization-aware training, on PyTorch (extra ``train``)."""
