"""Statements about tables in plain words, one kind a file, each computed from numbers and their intervals."""
