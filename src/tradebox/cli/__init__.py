"""Commands, one small file each; they parse, call, print."""
