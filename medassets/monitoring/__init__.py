"""What happened after the answer: prediction log, drift, feedback, the retraining decision."""
