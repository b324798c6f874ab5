"""Learning apart from serving: fitting, evaluation, what is handed out to tune models. Never on the serving path."""
