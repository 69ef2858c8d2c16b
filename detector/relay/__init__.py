"""`detector relay`: reads the topic of alerts and hands each on to one place beside Kafka."""
