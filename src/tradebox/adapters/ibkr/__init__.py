"""Interactive Brokers: one folder per connection, since orders and quotes never share one."""
