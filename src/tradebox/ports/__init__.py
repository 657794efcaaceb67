"""What we need from outside, as protocols in our own words."""
