"""Learning from outcomes, away from the serving path: tables, metrics, baselines, evaluation. Needs `turnout[learn]`."""
