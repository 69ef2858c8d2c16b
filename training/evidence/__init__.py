"""What speaks for an anomaly, each kind a module with a state and one step."""
