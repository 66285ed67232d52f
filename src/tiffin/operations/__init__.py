"""The verbs, where plans meet backends."""
