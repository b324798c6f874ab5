"""Learning from outcomes, away from the serving path: tables, metrics, baselines, evaluation (`turnout[learn]`)."""
