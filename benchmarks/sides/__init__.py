"""The code under measurement: what a good engineer writes by hand for this one question, and the feature stores."""
