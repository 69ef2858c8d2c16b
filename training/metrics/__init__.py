"""What detectors are measured by, each as its benchmark defines it; arrays in, figures out."""
