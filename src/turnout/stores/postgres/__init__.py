"""Where state lives when several gateways share PostgreSQL. Needs turnout[postgres]; imported only when a config names
such a store."""
