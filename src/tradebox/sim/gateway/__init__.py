"""The TWS API socket gateway over the simulated exchange."""
