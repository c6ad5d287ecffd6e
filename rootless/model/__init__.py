"""Plain values, no I/O: the vocabulary that all other packages share. Ring 1, standard library only."""
