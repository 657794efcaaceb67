"""Redis: disposable copies for everyone outside the engine. Speaks redis-py, with readmodel."""
