"""Copies of metrics for TensorBoard, MLflow or W&B (`track:`), sent by a process of their own."""
