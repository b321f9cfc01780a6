"""The bundle that a bento carries and the predictor over it. Knows no training code."""
