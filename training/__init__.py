"""Offline: train an LSTM autoencoder on history, calibrate it, export one ONNX file."""
