"""PostgreSQL and Valkey under the home, for machines that have neither.

Rules of this package:
- nothing outside the home and its socket folder is created, changed or read for writing;
- a server is known by what the kernel says (its working folder), never by a stored pid alone;
- every login needs a password, the Unix socket's included; secrets are files of mode 0600.
"""
