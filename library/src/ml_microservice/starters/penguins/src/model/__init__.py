"""Your model: where its data comes from, how it is prepared, how it is trained. All of this package is yours."""
