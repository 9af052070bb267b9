"""Operators that only QONNX graphs have, or compute otherwise than TensorFlow Lite."""
