"""Tests of the metrics, and the outside answers that they are held against."""
