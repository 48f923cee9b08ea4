"""Records of predictions and feedback: stored durably in local segments, then shipped to sinks."""
