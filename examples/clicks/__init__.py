"""Clicks of users, from Kafka into features."""
