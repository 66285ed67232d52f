"""Kafka as a stream, through confluent-kafka."""
