"""One module per command (or family of commands); each is thin and rests on the pure modules beside it."""
