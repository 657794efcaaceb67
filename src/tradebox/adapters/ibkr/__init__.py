"""Interactive Brokers: one folder per connection, since orders and quotes never share one.

Rules of this folder:
- what happens to a connection is told by us; the library's own log lines go nowhere, where they
  would reach a person's terminal by way of logging's last resort.
"""

import logging

logging.getLogger("ib_async").addHandler(logging.NullHandler())
