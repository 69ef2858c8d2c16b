"""Benchmarks: their data, each as its protocol cuts it, and what others reach on it."""
