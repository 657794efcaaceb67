"""What tests share; imported as `support.…`, the tests' folder is put on the path by conftest."""
