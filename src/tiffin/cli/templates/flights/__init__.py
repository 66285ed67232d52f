"""The flights project: real data, and the features that predict a late arrival."""
