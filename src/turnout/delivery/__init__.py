"""Getting an answer out of the chosen deployments: attempts and failover."""
