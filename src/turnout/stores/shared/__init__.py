"""What several gateways share while they run, in memory, in an SQLite file or in Valkey; opened by URL (`opening`)."""
