"""The stand-in for Yahoo Finance: cookie, crumb and chart over TLS with a CA of its own."""
