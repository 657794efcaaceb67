"""Who acts: the only holder of the order port."""
