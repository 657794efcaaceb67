"""The simulated exchange: accounts, orders, matching and the ledger; pure and synchronous."""
