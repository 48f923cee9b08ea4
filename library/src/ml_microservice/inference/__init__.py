"""From validated columns to answers: the predictor, the served model, and the core that all transports share."""
