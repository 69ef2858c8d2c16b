"""A streaming anomaly detector: readings from Kafka in, alerts out."""
